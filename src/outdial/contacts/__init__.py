"""Contact files: what people export from spreadsheets and systems, as requests for calls.

    source      the bytes: compression, encoding, whether it is a sheet or NDJSON
    sheet       the cells: delimiter, header, rows
    columns     what each column means
    number      telephone numbers, and what spreadsheets do to them
    moment      dates and times
    reader      all of it: a stream of rows, each with a request or the reason why not
    identity    the idempotency key of a row
    seen        what was in the file before
    rejects     the rows that were not taken, with their reasons
    placing     the stream of rows through the Voice API's batch route

Nothing here holds a file in memory: a million rows are read in a few dozen megabytes.
"""
