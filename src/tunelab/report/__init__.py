"""The report: reads records and result files, computes nothing new."""
