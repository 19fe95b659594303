"""What is kept: tables, transactions, migrations. The only package that speaks SQL besides `serving.jobs.queue`."""
