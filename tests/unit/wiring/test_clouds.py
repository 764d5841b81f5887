"""Which providers get a cloud, and what is told of the others."""

from __future__ import annotations

from poolmgr.config.settings import OpenStackProvider, Settings, StaticProvider
from poolmgr.errors import ConfigError
from poolmgr.wiring import open_image_clouds

CLOUDS = """
clouds:
  north:
    region_name: one
    auth:
      {auth_url: "http://127.0.0.1:1/v3", username: u, password: p, project_name: p,
       user_domain_id: default, project_domain_id: default}
"""


def test_each_openstack_provider_has_a_cloud_or_the_reason_why_not(tmp_path):
    file = tmp_path / "clouds.yaml"
    file.write_text(CLOUDS)
    providers = [
        OpenStackProvider(name="good", cloud="north"),
        OpenStackProvider(name="unknown", cloud="nowhere"),
        OpenStackProvider(name="unnamed", cloud=None),
        StaticProvider(name="static"),
    ]
    settings = Settings(providers={p.name: p for p in providers}, clouds_files=(str(file),))
    found = open_image_clouds(settings, {})
    assert list(found) == ["good", "unknown", "unnamed"]
    good, unknown, unnamed = found.values()
    assert not isinstance(good, ConfigError)
    assert good.provider_name == "good"
    assert "nowhere" in str(unknown)
    assert "unnamed names no cloud" in str(unnamed)
