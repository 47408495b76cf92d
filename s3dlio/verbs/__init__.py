"""What a client does: functions of a session, which are the methods of the client."""
