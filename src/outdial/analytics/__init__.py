"""What happened to the calls, in numbers: definitions, questions, and what loads the rows."""
