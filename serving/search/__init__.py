"""Finding moments: what is written for it, how a query is planned, asked and answered."""
