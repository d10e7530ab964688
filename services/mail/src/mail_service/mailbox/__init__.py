"""Where mail comes in: one folder of one account, watched for as long as the service runs."""
