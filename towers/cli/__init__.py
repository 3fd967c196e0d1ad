"""The console command `towers`: composes a configuration and calls one function."""
