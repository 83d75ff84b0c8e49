"""The HTTP interface against its own description, with the requests that schemathesis makes (`make test-openapi`)."""

import pytest
from hypothesis import HealthCheck, given, settings
from serve_fixtures import TOKEN

schemathesis = pytest.importorskip("schemathesis", reason="NOT RUN: `make test-openapi` installs schemathesis")
checks = pytest.importorskip("schemathesis.specs.openapi.checks")
HEADERS = {"authorization": f"Bearer {TOKEN}"}
# The first cannot know that bytes are no image, nor which models and layers there are; the second asks with the token.
ELSEWHERE = [checks.positive_data_acceptance, checks.ignored_auth]
FEW = settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))


def test_every_answer_is_as_the_description_has_it(served):
    described = schemathesis.openapi.from_url(f"{served.base}/openapi.json", headers=HEADERS)
    faults, operations = [], [result.ok() for result in described.get_all_operations()]
    assert len(operations) > 10
    for operation in operations:

        @FEW
        @given(case=operation.as_strategy())
        def check(case):
            case.call_and_validate(headers=HEADERS, timeout=30, excluded_checks=ELSEWHERE)

        try:
            check()
        except (Exception, BaseExceptionGroup) as fault:
            faults.append(f"{operation.label}: {fault}")
    assert not faults, "\n\n".join(faults)
