"""What is made of videos and costs to make anew: kept in the database, sealed, so that no process makes it again."""
