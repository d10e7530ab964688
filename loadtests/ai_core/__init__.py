"""People and programs that ask the AI core: locust users of four kinds. loadtests/README.md says more."""
