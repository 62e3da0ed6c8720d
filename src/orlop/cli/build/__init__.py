"""`orlop build`: what is asked for, the context on its way to the daemon, and what is shown of the build."""
