"""What each kind of step does, one file a kind. The engine calls ``run(context)``; the domain does the work."""
