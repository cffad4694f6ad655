from tests.evaluation.conftest import engine, snapshot  # noqa: F401
