"""Jobs that are never lost: the job table is the queue, a lease and a fence say whose a job is."""
