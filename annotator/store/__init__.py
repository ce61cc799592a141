"""Tables and sessions; the only part that knows SQLAlchemy."""
