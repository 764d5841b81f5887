"""Keys whose effect other tests show: of builders, of whole processes, of the connection to ZooKeeper.

Here the file's value has to arrive in one field of the settings, and the test named has to be about that field.
"""

from __future__ import annotations

from typing import Any

from tests.scenario.every_key import ABSENT, Elsewhere

BUILDS, UPLOADS = "tests/scenario/test_image_builds.py", "tests/scenario/test_image_uploads.py"
RECIPE, RETENTION = "tests/unit/builder/test_recipe.py", "tests/unit/policy/test_retention.py"
ZOOKEEPER, OF_ZOOKEEPER = "tests/contract/test_zookeeper.py", "tests/unit/config/test_zookeeper.py"
CANARY, TRIALS = "tests/contract/test_canary.py", "tests/unit/builder/test_trials.py"
TRIAL = {"diskimages.validate": {"label": "small", "command": "true"}}
NOT_LISTED = {"openstack.diskimages": []}
PLAIN: dict[str, Any] = {"zookeeper-plaintext": ABSENT}
TLS = {"cert": "/c", "key": "/k", "ca": "/a"}
LAUNCHER_PORT = "tests/contract/test_launcher_process.py::test_a_port_that_is_taken_is_told_with_what_to_do"
BUILDER_PORT = "tests/contract/test_daemon_web.py::test_its_url_names_a_host_that_others_can_ask"
SECURE_SERVERS = f"{OF_ZOOKEEPER}::test_the_secure_file_replaces_servers_and_tls_entirely"
IN_SECURE = "tests/unit/config/test_secure.py::test_secrets_are_added_to_what_the_image_has_after_inheritance"
DRAINED = "tests/unit/launcher/test_removed.py::test_by_default_it_is_kept_as_the_reference_does"
SHARED = f"{UPLOADS}::test_several_images_go_to_a_provider_one_after_the_other_or_together"

KEYS: tuple[Elsewhere, ...] = (
    Elsewhere(path="webapp.port", value=9000, field="port", test=LAUNCHER_PORT),
    Elsewhere(path="webapp.listen_address", value="::1", field="listen_address",
              test="tests/contract/test_web.py::test_it_listens_on_ipv6", word="::1"),
    Elsewhere(path="elements-dir", value="/e", field="elements_dir",
              test=f"{RECIPE}::test_the_environment_and_which_wins"),
    Elsewhere(path="images-dir", value="/i", field="images_dir",
              test="tests/unit/builder/test_images_dir.py::test_there_has_to_be_a_directory"),
    Elsewhere(path="build-log-dir", value="/l", field="build_log_dir",
              test=f"{BUILDS}::test_old_logs_go_when_a_build_begins", word="log"),
    Elsewhere(path="build-log-retention", value=2, field="build_log_retention",
              test=f"{BUILDS}::test_old_logs_go_when_a_build_begins"),
    Elsewhere(path="builder-webapp.port", value=9000, other=8007, field="port", test=BUILDER_PORT),
    Elsewhere(path="builder-webapp.listen_address", value="127.0.0.1", along={"builder-webapp.port": 9000},
              field="listen_address", test=BUILDER_PORT, word="address"),
    Elsewhere(path="max-parallel-uploads", value=2, field="max_parallel_uploads",
              test=f"{UPLOADS}::test_no_more_than_so_many_at_once_and_each_has_its_turn"),
    Elsewhere(path="upload-rate-limit", value="1M", field="upload_rate_limit",
              test=f"{UPLOADS}::test_a_rate_limit_holds_for_all_uploads_together"),
    Elsewhere(path="image-retry-max", value=60, field="image_retry_max",
              test="tests/unit/policy/test_builds.py::test_failures_double_the_wait_up_to_the_setting"),
    Elsewhere(path="image-orphan-grace", value=60, field="image_orphan_grace",
              test=f"{RETENTION}::test_another_builder_is_given_time_to_let_go_of_its_files"),
    Elsewhere(path="images-url", value="http://b/i", field="images_url",
              test="tests/unit/builder/test_upload_spec.py::test_what_a_cloud_is_asked_for"),
    Elsewhere(path="zookeeper-servers.host", value="zk2", other="zk", field="host",
              test=f"{OF_ZOOKEEPER}::test_the_connection_string"),
    Elsewhere(path="zookeeper-servers.port", value=2182, field="port",
              test=f"{OF_ZOOKEEPER}::test_the_connection_string"),
    Elsewhere(path="zookeeper-servers.chroot", value="/ci", field="chroot",
              test=f"{ZOOKEEPER}::test_the_list_of_servers_can_change_without_losing_the_session"),
    *(Elsewhere(path=f"zookeeper-tls.{key}", value="/other", other=TLS[key],
                along={"zookeeper-tls": dict(TLS), **PLAIN}, field=key,
                test=f"{ZOOKEEPER}::test_mutual_tls", word="tls")
      for key in TLS),
    Elsewhere(path="zookeeper-plaintext", value=True, other=False, along={"zookeeper-tls": dict(TLS)},
              only={"zookeeper-tls": ABSENT}, field="plaintext",
              test=f"{OF_ZOOKEEPER}::test_missing_tls_tells_both_ways_out"),
    Elsewhere(path="zookeeper-timeout", value=5, field="timeout",
              test=f"{ZOOKEEPER}::test_the_timeout_that_counts_is_the_one_that_the_server_grants"),
    Elsewhere(path="clouds-files", value=["/c"], field="clouds_files",
              test="tests/unit/cli/test_config_validate.py::test_the_file_may_say_where_clouds_yaml_is"),
    Elsewhere(path="statsd-escape", value=True, field="statsd_escape",
              test="tests/unit/observe/test_names.py::test_all_values_lose_their_dots_when_asked_to", word="escape"),
    Elsewhere(path="on-remove", value="drain", field="on_remove", test=DRAINED),
    Elsewhere(path="fair-tenants", value=True, field="fair_tenants",
              test="tests/scenario/test_requests.py::test_tenants_share_a_short_pool_however_much_one_asks_for"),
    Elsewhere(path="idle-hold", value=30, field="idle_hold",
              test="tests/scenario/test_requests.py::test_ready_nodes_are_not_held_idle_longer_than_allowed"),
    Elsewhere(path="ledger", value="/l", field="ledger", test="tests/unit/config/test_fleet_keys.py::test_they_arrive"),
    Elsewhere(path="diskimages.name", value="debian", other="img", along=NOT_LISTED, field="diskimages",
              test=f"{BUILDS}::test_a_build_and_what_its_record_and_manifest_say", word="img"),
    Elsewhere(path="diskimages.abstract", value=True, along=NOT_LISTED, field="diskimages",
              test="tests/unit/config/test_inheritance.py::test_what_an_image_gets_from_its_parents"),
    Elsewhere(path="diskimages.parent", value="base", field="elements",
              along={"diskimages": [{"name": "img"}, {"name": "base", "elements": ["vm"]}]},
              test="tests/unit/config/test_inheritance.py::test_what_an_image_gets_from_its_parents"),
    Elsewhere(path="diskimages.dib-cmd", value="dib --x", field="dib_cmd",
              test=f"{BUILDS}::test_a_command_that_is_not_there"),
    Elsewhere(path="diskimages.elements", value=["vm"], field="elements",
              test=f"{BUILDS}::test_a_build_and_what_its_record_and_manifest_say"),
    Elsewhere(path="diskimages.env-vars", value={"A": "b"}, field="env_vars",
              test=f"{RECIPE}::test_the_environment_and_which_wins"),
    Elsewhere(path="diskimages.formats", value=["raw"], field="formats",
              test="tests/unit/policy/test_builds.py::test_wanted_formats_are_those_of_the_image_and_of_the_clouds_that"
              "_list_it"),
    Elsewhere(path="diskimages.keep-formats", value=["raw"], field="keep_formats",
              test=f"{RETENTION}::test_files_go_when_no_provider_lacks_them"),
    Elsewhere(path="diskimages.delete-after-upload", value=True, field="delete_after_upload",
              test="tests/scenario/test_image_janitor.py::test_files_go_once_they_are_uploaded"),
    Elsewhere(path="diskimages.rebuild-age", value=60, field="rebuild_age",
              test="tests/unit/policy/test_builds.py::test_an_image_is_built_again_by_age"),
    Elsewhere(path="diskimages.rebuild-cron", value="0 4 * * *", field="rebuild_cron",
              along={"diskimages.rebuild-age": 86400},
              test="tests/unit/policy/test_builds.py::test_an_image_is_built_again_by_its_cron_expression"),
    Elsewhere(path="diskimages.qemu-img-options", value="compat=1.1", field="qemu_img_options",
              test=f"{RECIPE}::test_qemu_img_options_only_for_a_qcow2_and_if_there_are_some"),
    Elsewhere(path="diskimages.keep-builds", value=3, field="keep_builds",
              test=f"{RETENTION}::test_how_many_stay_is_said_by_the_settings"),
    Elsewhere(path="diskimages.keep-uploads", value=3, field="keep_uploads",
              test=f"{RETENTION}::test_how_many_stay_is_said_by_the_settings"),
    Elsewhere(path="diskimages.validate.label", value="bare", other="small", along=TRIAL, field="label",
              test=f"{TRIALS}::test_the_label_may_be_in_any_pool"),
    Elsewhere(path="diskimages.validate.command", value="false", other="true", along=TRIAL, field="command",
              test=f"{CANARY}::test_a_bad_image_does_not_pass_and_nothing_is_left"),
    Elsewhere(path="diskimages.validate.script", value="/s", other="/t", field="script",
              along={"diskimages.validate": {"label": "small"}}, test=f"{TRIALS}::test_a_script_is_read"),
    Elsewhere(path="diskimages.validate.timeout", value=9, along=TRIAL, field="timeout",
              test=f"{CANARY}::test_a_command_that_never_ends_is_given_up_in_time"),
    Elsewhere(path="diskimages.validate.private-key", value="/k", along=TRIAL, field="private_key",
              test=f"{CANARY}::test_a_key_that_cannot_be_used_is_told_before_anything_is_made"),
    Elsewhere(path="diskimages.validate.username", value="me", along=TRIAL, field="username",
              test=f"{TRIALS}::test_who_logs_in"),
    Elsewhere(path="diskimages.build-timeout", value=9, field="build_timeout",
              test=f"{BUILDS}::test_a_build_that_hangs_is_ended_with_all_that_it_started"),
    Elsewhere(path="diskimages.release", value="noble", field="release",
              test=f"{RECIPE}::test_the_environment_and_which_wins", word="DIB_RELEASE"),
    Elsewhere(path="diskimages.pause", value=True, field="pause",
              test="tests/unit/policy/test_builds.py::test_a_pause_holds_both_kinds_and_says_whose_it_is"),
    Elsewhere(path="diskimages.metadata", value={"a": "b"}, field="metadata",
              test=f"{UPLOADS}::test_metadata_of_the_image_and_of_the_provider"),
    Elsewhere(path="openstack.region-name", value="two", field="region_name",
              word="region",
              test="tests/contract/test_openstack_http.py::test_a_region_that_the_catalog_does_not_have"),
    Elsewhere(path="openstack.image-upload-timeout", value=9, field="image_upload_timeout",
              test=f"{UPLOADS}::test_an_upload_that_takes_too_long_is_a_failure"),
    Elsewhere(path="openstack.image-name-format", value="{image_name}", field="image_name_format",
              test=f"{UPLOADS}::test_names_differ_from_upload_to_upload"),
    Elsewhere(path="openstack.post-upload-hook", value="/h", field="post_upload_hook",
              test=f"{UPLOADS}::test_a_hook_is_told_provider_id_and_file"),
    Elsewhere(path="openstack.reclaim-fuse", value=3, field="reclaim_fuse",
              test="tests/unit/config/test_fleet_keys.py::test_the_fuse_is_a_provider_s_own"),
    Elsewhere(path="openstack.max-parallel-uploads", value=2, field="max_parallel_uploads", test=SHARED),
    Elsewhere(path="openstack.upload-rate-limit", value="1M", field="upload_rate_limit",
              test=f"{UPLOADS}::test_a_rate_limit_holds_for_all_uploads_together"),
    Elsewhere(path="openstack.diskimages.name", value="img", other="second", field="diskimages",
              along={"diskimages": [{"name": "img"}, {"name": "second"}]},
              test="tests/unit/policy/test_builds.py::test_wanted_formats_are_those_of_the_image_and_of_the_clouds_that"
              "_list_it", word="north"),
    Elsewhere(path="openstack.diskimages.pause", value=True, field="pause",
              test="tests/unit/policy/test_uploads.py::test_a_pause_of_the_provider_holds_uploads_and_one_by_command"
              "_does_not"),
    Elsewhere(path="openstack.diskimages.meta", value={"a": "b"}, field="meta",
              test=f"{UPLOADS}::test_metadata_of_the_image_and_of_the_provider"),
    Elsewhere(path="secure.zookeeper-servers.host", value="zk2", other="zk", field="host", test=SECURE_SERVERS),
    Elsewhere(path="secure.zookeeper-servers.port", value=2182, along={"secure.zookeeper-servers.host": "zk"},
              field="port", test=SECURE_SERVERS, word="zookeeper-servers"),
    Elsewhere(path="secure.zookeeper-servers.chroot", value="/ci", along={"secure.zookeeper-servers.host": "zk"},
              field="chroot", test=SECURE_SERVERS),
    *(Elsewhere(path=f"secure.zookeeper-tls.{key}", value="/other", other=TLS[key],
                along={"secure.zookeeper-tls": dict(TLS), **PLAIN}, field=key, test=SECURE_SERVERS)
      for key in TLS),
    Elsewhere(path="secure.diskimages.name", value="img", other="second", field="env_vars", test=IN_SECURE, word="name",
              along={"diskimages": [{"name": "img"}, {"name": "second"}], "secure.diskimages.env-vars": {"A": "b"}}),
    Elsewhere(path="secure.diskimages.env-vars", value={"A": "b"}, other={}, field="env_vars", test=IN_SECURE,
              word="env-vars"),
)  # fmt: skip
