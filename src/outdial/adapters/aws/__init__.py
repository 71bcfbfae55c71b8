"""AWS: queues on SQS and parked payloads on S3.

Two ways in, over the same addresses: `SqsQueue` and `S3Parking` by aiobotocore, for the stages;
`senders`, by the standard library and a signature of our own, for the Lambda, whose cold start
would be three times as long with a client. Nothing is imported here, for the Lambda's sake.
"""
