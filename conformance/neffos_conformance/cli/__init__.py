"""The commands that judge a system under test, and those that tell about the cases."""
