"""What is in deploy/: linted, and wired to the code: nothing missing, nothing that is of no use."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from botocore.session import get_session

from outdial.bootstrap.stages import STAGES
from outdial.config import PREFIX, Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
TEMPLATE = DEPLOY / "aws" / "outdial.yaml"
COMPOSE = DEPLOY / "docker" / "compose.yaml"
DOCKERFILE = DEPLOY / "docker" / "Dockerfile"
KUBERNETES = DEPLOY / "kubernetes" / "outdial.yaml"
TOOLS = Path(sys.prefix) / "deployment" / "bin"

#: Settings that a deployment leaves alone, and why.
NOT_DEPLOYED = {
    "home": "the image's",
    "retell_base_url": "Retell is where it is",
    "idempotency_window": "Retell's own",
    "attempt_lease": "the default suits every deployment",
    "reconcile_after": "likewise",
    "reconcile_rate": "likewise",
    "analysis_after": "likewise",
    "republish_after": "likewise",
    "auth": "keys, always",
    "api_url": "for the command line only",
    "api_key": "likewise",
    "log_level": "the default",
}
#: Permissions that no call of ours names, and who needs them.
IMPLIED = {
    "s3:ListBucket": "else S3 tells of an object that is gone as of one that is forbidden",
    "logs:CreateLogStream": "Lambda, for the handler's log",
    "logs:PutLogEvents": "likewise",
    "secretsmanager:GetSecretValue": "ECS, for the settings that are secrets",
    "sts:AssumeRole": "ECS and Lambda, to act in a role",
}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """CloudFormation's tags, as the functions they stand for."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.ScalarNode):
        value = loader.construct_scalar(node)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        assert isinstance(node, yaml.MappingNode)
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix == "Ref" else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    """The CloudFormation template."""
    loaded: dict[str, Any] = yaml.load(TEMPLATE.read_text(), _Loader)  # noqa: S506 - a safe one
    return loaded


def _lint(tool: str, *arguments: str, home: Path) -> str:
    program = TOOLS / tool
    if not program.exists():
        pytest.skip(f"{tool} is not installed: make .venv/deployment.stamp")
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [str(program), *arguments], capture_output=True, text=True, check=False, env=environment
    )
    return f"{done.stdout}{done.stderr}".strip() if done.returncode else ""


def _walk(node: Any) -> Iterator[Any]:
    yield node
    for inner in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        yield from _walk(inner)


def _resources(template: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """Resources of a type, those in loops included, by name."""
    return {
        name: resource
        for node in _walk(template["Resources"])
        if isinstance(node, dict)
        for name, resource in node.items()
        if isinstance(resource, dict) and resource.get("Type") == kind
    }


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_template_is_sound(tmp_path: Path) -> None:
    """cfn-lint finds nothing: types, properties, references, regions."""
    regions = ["us-east-1", "eu-central-1"]
    assert _lint("cfn-lint", "-r", *regions, "--", str(TEMPLATE), home=tmp_path) == ""


def test_every_stage_is_deployed(template: dict[str, Any]) -> None:
    """The webhook entry as a Lambda, all others as services, each with a role of its own."""
    deployed = {stage["Name"]: name for name, stage in template["Mappings"]["Stages"].items()}
    assert set(deployed) == set(STAGES) - {"webhook"}
    loops = {
        key: value for key, value in template["Resources"].items() if key.startswith("Fn::ForEach")
    }
    served = [name for key in ("Workers", "Services") for name in loops[f"Fn::ForEach::{key}"][1]]
    assert sorted(served) == sorted(loops["Fn::ForEach::Tasks"][1]) == sorted(deployed.values())
    roles = set(_resources(template, "AWS::IAM::Role"))
    assert roles == {f"{name}Role" for name in (*served, "Webhook", "Operator")} | {"ExecutionRole"}


#: Whose operations a module names.
_SERVICES = {"parking": "s3", "event_bridge": "events"}


def _actions_in_code() -> set[str]:
    """What the adapters ask of AWS, as IAM calls it."""
    actions = set()
    session = get_session()
    known = {
        name: session.get_service_model(name).operation_names for name in ("sqs", "s3", "events")
    }
    for path in (ROOT / "src/outdial/adapters/aws").glob("*.py"):
        service = _SERVICES.get(path.stem, "sqs")
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            words = node.value.removesuffix("_batch").split("_")
            operation = "".join(word.title() for word in words)
            if "_" in node.value and operation in known[service]:
                actions.add(f"{service}:{operation}")
    return actions


def _actions_in_template(template: Mapping[str, Any]) -> set[str]:
    return {
        action
        for node in _walk(template["Resources"])
        if isinstance(node, dict) and "Effect" in node
        for action in _list(node["Action"])
    }


def test_every_permission_is_of_use_and_none_is_missing(template: dict[str, Any]) -> None:
    """Read off the adapters' own requests; none on all resources."""
    asked = _actions_in_code()
    assert {"sqs:ReceiveMessage", "sqs:SendMessage", "s3:PutObject", "events:PutEvents"} <= asked
    assert _actions_in_template(template) == asked | set(IMPLIED)
    resources = [
        resource
        for node in _walk(template["Resources"])
        if isinstance(node, dict) and "Effect" in node and "Resource" in node
        for resource in _list(node["Resource"])
    ]
    assert resources
    assert "*" not in resources


def _variables(entries: Any) -> list[str]:
    """Names, in order; those under a condition are in the branch that sets them."""
    return [
        node["Name"]
        for node in _walk(entries)
        if isinstance(node, dict) and str(node.get("Name", "")).startswith(PREFIX)
    ]


def test_every_setting_is_set_or_left_out_for_a_reason(template: dict[str, Any]) -> None:
    """In all stages alike, secrets as secrets."""
    fields = Settings.model_fields
    wanted = {f"{PREFIX}{name.upper()}" for name in fields.keys() - NOT_DEPLOYED.keys()}
    assert fields.keys() >= NOT_DEPLOYED.keys()
    secret = {
        f"{PREFIX}{name.upper()}"
        for name, field in fields.items()
        if "SecretStr" in str(field.annotation) and name not in NOT_DEPLOYED
    }
    tasks = _resources(template, "AWS::ECS::TaskDefinition")
    assert set(tasks) == {"${Stage}Task", "OperatorTask"}
    for task in tasks.values():
        [container] = task["Properties"]["ContainerDefinitions"]
        plain, hidden = _variables(container["Environment"]), _variables(container["Secrets"])
        assert set(hidden) == secret
        assert sorted(plain + hidden) == sorted(wanted)
    everybody = [task["Properties"]["ContainerDefinitions"][0] for task in tasks.values()]
    assert everybody[0]["Environment"] == everybody[1]["Environment"]
    assert everybody[0]["Secrets"] == everybody[1]["Secrets"]


def test_the_lambda_gets_what_its_handler_reads(template: dict[str, Any]) -> None:
    """And nothing else; its handler is there, and its time is less than Retell waits."""
    source = (ROOT / "src/outdial/webhook_lambda.py").read_text()
    read = set(re.findall(r'environment(?:\.get\(|, )"(OUTDIAL_\w+)"', source))
    [function] = _resources(template, "AWS::Lambda::Function").values()
    properties = function["Properties"]
    given = set(properties["Environment"]["Variables"])
    # The webhook key may be the API key; in the cloud it is always told as itself.
    assert given == read - {"OUTDIAL_RETELL_API_KEY"}
    assert given == {
        "OUTDIAL_EVENT_QUEUE_URL",
        "OUTDIAL_PARKED_URL",
        "OUTDIAL_RETELL_WEBHOOK_KEY",
    }
    module, _, name = properties["Handler"].rpartition(".")
    assert (
        f"def {name}(" in (ROOT / "src" / Path(*module.split("."))).with_suffix(".py").read_text()
    )
    assert properties["Timeout"] < 10


def test_every_queue_has_dead_letters_and_alarms(template: dict[str, Any]) -> None:
    """A message outlives no retention unseen, is hidden for longer than a lease, may be 1 MiB."""
    queues = _resources(template, "AWS::SQS::Queue")
    dead = {
        queue["Properties"]["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"].split(".")[
            0
        ]: name
        for name, queue in queues.items()
        if "RedrivePolicy" in queue["Properties"]
    }
    assert set(dead) | set(dead.values()) == set(queues)
    assert sorted(dead.values()) == ["CallQueue", "EventQueue"]
    lease = Settings.model_fields["attempt_lease"].default
    for name in dead.values():
        properties = queues[name]["Properties"]
        assert properties["VisibilityTimeout"] > lease
        assert properties["RedrivePolicy"]["maxReceiveCount"] == 100
        assert properties["MaximumMessageSize"] == 1_048_576
    resources = template["Resources"]
    assert resources["Fn::ForEach::DeadLetterAlarms"][1] == sorted(dead)
    assert resources["Fn::ForEach::AgeAlarms"][1] == sorted(dead.values())


def test_parked_payloads_outlive_the_messages_that_point_to_them(
    template: dict[str, Any],
) -> None:
    """In the queue first, then among the dead letters."""
    queues = _resources(template, "AWS::SQS::Queue")
    seconds = sum(
        queues[name]["Properties"]["MessageRetentionPeriod"]
        for name in ("EventQueue", "EventDeadLetters")
    )
    [bucket] = _resources(template, "AWS::S3::Bucket").values()
    [rule] = bucket["Properties"]["LifecycleConfiguration"]["Rules"]
    assert rule["ExpirationInDays"] * 86_400 > seconds
    [function] = _resources(template, "AWS::Lambda::Function").values()
    parked = function["Properties"]["Environment"]["Variables"]["OUTDIAL_PARKED_URL"]["Fn::Sub"]
    assert parked.endswith(rule["Prefix"].rstrip("/"))


def test_services_are_watched_and_scaled_by_the_age_of_their_queue(
    template: dict[str, Any],
) -> None:
    """Every container has a health check; both consumers have a policy."""
    task = _resources(template, "AWS::ECS::TaskDefinition")["${Stage}Task"]
    assert task["Properties"]["ContainerDefinitions"][0]["HealthCheck"]["Command"]
    metrics = {
        dimension["Value"]["Fn::GetAtt"]
        for policy in _resources(template, "AWS::ApplicationAutoScaling::ScalingPolicy").values()
        for dimension in policy["Properties"]["TargetTrackingScalingPolicyConfiguration"][
            "CustomizedMetricSpecification"
        ]["Dimensions"]
    }
    assert metrics == {"CallQueue.QueueName", "EventQueue.QueueName"}


def test_logs_are_not_kept_for_ever(template: dict[str, Any]) -> None:
    """Each group has a retention."""
    groups = _resources(template, "AWS::Logs::LogGroup")
    assert len(groups) == 2
    assert all("RetentionInDays" in group["Properties"] for group in groups.values())


def test_every_parameter_is_used(template: dict[str, Any]) -> None:
    """Nobody is asked for what has no effect."""
    source = TEMPLATE.read_text().partition("\nResources:")
    used = source[2] + source[0].partition("\nConditions:")[2]
    assert [name for name in template["Parameters"] if not re.search(rf"\b{name}\b", used)] == []


def test_the_image_is_built_as_it_should_be(tmp_path: Path) -> None:
    """Hadolint finds nothing."""
    assert _lint("hadolint", "--no-color", str(DOCKERFILE), home=tmp_path) == ""


def test_the_image_runs_as_nobody_from_hashed_packages() -> None:
    """What it copies is there, and not kept from the build."""
    lines = re.sub(r"\\\n\s*", "", DOCKERFILE.read_text()).splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    assert [line for line in words if line[0] == "USER"] == [["USER", "10001"]]
    assert all(":" in line[1] for line in words if line[0] == "FROM")
    allowed = {
        line[1:]
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for line in words
        if line[0] == "COPY" and not line[1].startswith("--from")
        for source in line[1:-1]
    }
    assert copied == allowed
    assert [source for source in copied if not (ROOT / source).exists()] == []
    installs = [line for line in lines if "pip install" in line]
    assert installs
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


def test_the_image_has_every_driver() -> None:
    """Of the extras that the package offers, all are locked for it."""
    project = (ROOT / "pyproject.toml").read_text()
    extras = re.search(r"\[project.optional-dependencies\]\n((?:.+\n)+)", project)
    assert extras is not None
    named = re.findall(r'"([a-z0-9-]+)', extras[1])
    lock = (ROOT / "requirements/production.txt").read_text()
    assert [name for name in named if not re.search(rf"^{name}==", lock, re.MULTILINE)] == []


def test_the_compose_file_is_one(tmp_path: Path) -> None:
    """By Compose's own schema, every key of it."""
    script = (
        "import json, sys, compose_pydantic\n"
        "compose_pydantic.ComposeSpecification(**json.load(open(sys.argv[1])))"
    )
    given = tmp_path / "compose.json"
    given.write_text(json.dumps(yaml.safe_load(COMPOSE.read_text())))
    assert _lint("python", "-c", script, str(given), home=tmp_path) == ""


def test_the_compose_file_sets_what_there_is_and_opens_nothing() -> None:
    """Known settings; ports of this machine only; what it mounts and builds from is there."""
    compose = yaml.safe_load(COMPOSE.read_text())
    service = compose["services"]["outdial"]
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}
    assert set(service["environment"]) <= known
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    build = service["build"]
    assert (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve() == DOCKERFILE
    mounted = {
        volume.partition(":")[0]
        for one in compose["services"].values()
        for volume in one["volumes"]
    }
    assert mounted == set(compose["volumes"])


@pytest.fixture(scope="module")
def manifests() -> list[dict[str, Any]]:
    """The Kubernetes objects."""
    return [*yaml.safe_load_all(KUBERNETES.read_text())]


@pytest.mark.parametrize("version", ["1.33", "1.37"])
def test_the_manifests_are_sound(tmp_path: Path, version: str) -> None:
    """By Kubernetes' own schemas, no field unknown."""
    arguments = ["--strict", "--kubernetes-version", version, str(KUBERNETES)]
    assert _lint("kubernetes-validate", *arguments, home=tmp_path) == ""


def test_a_manifest_that_is_none_would_be_seen(tmp_path: Path) -> None:
    """A field that Kubernetes does not know."""
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(KUBERNETES.read_text().replace("replicas:", "replicass:"))
    told = _lint("kubernetes-validate", "--strict", str(wrong), home=tmp_path)
    assert "replicass" in told


def test_every_stage_has_a_deployment_that_is_watched(manifests: list[dict[str, Any]]) -> None:
    """As nobody, on a disk that can't be written, asked whether it lives and is ready."""
    deployments = [one for one in manifests if one["kind"] == "Deployment"]
    served = {}
    for deployment in deployments:
        spec = deployment["spec"]["template"]["spec"]
        [container] = spec["containers"]
        serve, stage, *options = container["args"]
        assert serve == "serve"
        served[stage] = options[-1]
        assert int(options[-1]) == container["ports"][0]["containerPort"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert spec["securityContext"]["runAsNonRoot"]
        # They would set OUTDIAL_…_SERVICE_HOST, which is no setting.
        assert spec["enableServiceLinks"] is False
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
    assert set(served) == set(STAGES)
    services = {one["spec"]["selector"]["stage"] for one in manifests if one["kind"] == "Service"}
    assert services == {"internal-api", "webhook", "web-api"}
