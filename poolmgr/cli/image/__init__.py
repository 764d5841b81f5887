"""Commands about images: what was built and uploaded, orders to builders, what is to go, backups of the records."""
