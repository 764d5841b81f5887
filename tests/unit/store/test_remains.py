"""What counts as left over."""

import pytest

from poolmgr.store.remains import remains


@pytest.mark.parametrize(
    "path",
    [
        "/zookeeper/config",
        "/nodepool",
        "/nodepool/requests",
        "/nodepool/requests-lock",
        "/nodepool/nodes",
        "/nodepool/components/pool",
        "/nodepool/elections/stats",
        "/nodepool/images",
        "/nodepool/images/img",
        "/nodepool/images/img/builds",
        "/nodepool/images/img/builds/lock",
        "/poolmgr",
        "/poolmgr/deployment",
        "/poolmgr/peers",
        "/poolmgr/providers",
        "/poolmgr/providers/north",
        "/poolmgr/providers/north/lock",
        "/poolmgr/providers/north/status",
    ],
)
def test_directories_and_the_installations_id_may_stay(path):
    assert remains([path]) == ()


@pytest.mark.parametrize(
    "path",
    [
        "/nodepool/requests/200-0000000001",
        "/nodepool/requests/lock",
        "/nodepool/requests-lock/200-0000000001",
        "/nodepool/nodes/0000000001",
        "/nodepool/nodes/0000000001/lock",
        "/nodepool/components/pool/host0000000001",
        "/nodepool/elections/stats/0123456789abcdef0123456789abcdef__lock__0000000001",
        "/nodepool/images/img/pause",
        "/nodepool/images/img/request-build",
        "/nodepool/images/img/builds/0123",
        "/nodepool/images/img/builds/0123/lock",
        "/nodepool/images/img/builds/lock/0123456789abcdef0123456789abcdef__lock__0000000001",
        "/nodepool/images/img/builds/0123/providers/p/images/lock",
        "/nodepool/images/img/builds/0123/providers/p/images/0000000001",
        "/poolmgr/something",
        "/poolmgr/peers/host0000000001",
        "/poolmgr/providers/north/order",
        "/poolmgr/providers/north/approval",
        "/poolmgr/providers/north/lock/0123456789abcdef0123456789abcdef__lock__0000000001",
        "/elsewhere",
    ],
)
def test_all_else_is_left_over(path):
    assert remains([path]) == (path,)
