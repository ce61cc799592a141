"""What measures speed: tables beside something public or beside the plain way; nothing is asserted."""
