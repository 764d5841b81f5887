"""poolmgr keeps OpenStack virtual machines ready for CI systems."""

__version__ = "0.1.0"
