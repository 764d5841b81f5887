"""The clouds of the contract suite, one login for each for the whole run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.openstack.admin import Admin
from tests.integration.openstack.site import CLOUDS_YAML, Site, real_site

#: Cores that the projects of devstack/local may use; None: unlimited.
PROJECTS = {"pool-a": None, "pool-b": 50, "pool-c": 20}


@pytest.fixture(scope="session")
def admin() -> Admin:
    """The administrator of the real services. There is no skipping: without the services the tests fail."""
    if not CLOUDS_YAML.exists():
        pytest.fail(
            f"there is no {CLOUDS_YAML}: `devstack/local/up.sh fake` (as root, on Debian or Ubuntu) starts the real "
            "OpenStack services these tests need; POOLMGR_OPENSTACK_CLOUDS names another file of such logins"
        )
    admin = Admin(CLOUDS_YAML)
    admin.sweep()
    return admin


@pytest.fixture(scope="session")
def projects(admin) -> Iterator[dict[str, Site]]:
    """The real projects by name."""
    sites = {name: real_site(name, cores=cores) for name, cores in PROJECTS.items()}
    yield sites
    for site in sites.values():
        site.cloud.close()
