"""The command line: asks the agent, renders the answer, decides nothing."""
