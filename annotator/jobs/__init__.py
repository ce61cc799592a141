"""Jobs: the run ledger, the steps of a night, and what carries them out, in this process or on Celery workers."""
