"""Where the road ends: prompts that leave no room, contexts too short, names and templates that are not to be trusted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from depcli import backbones, engines
from depcli.actions.evaluating import Plan, evaluate_store
from depcli.actions.writing import find_request, make_writer
from depcli.adapters import files
from depcli.errors import BadInput, Incompatible, NotFound
from depcli.evaluation.studies import plain
from depcli.records import Sampling
from depcli.training.options import TrainOptions
from depcli.training.run import train
from tests.personal.conftest import few_people, made_store

OPTIONS = TrainOptions(epochs=2, batch_size=4, history=3, max_target_tokens=60, validation_limit=6, targets_per_user=1)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return made_store(tmp_path_factory.mktemp("road"), *few_people(8))


def test_prompts_that_leave_no_room_for_a_review_are_refused(store, tiny_backbone, tmp_path):
    plain = backbones.find(str(tiny_backbone))  # as a model folder from anywhere: 3,072 tokens of prompt, a context of 2,048
    with engines.load("transformers", plain) as engine:
        road = make_writer(store=store, snapshot=store.snapshot(), method="rag", backbone=plain, engine=engine)
        assert road.builder.max_input_tokens == road.room == 1024
        with pytest.raises(Incompatible, match="2,048 tokens leave no room for a review: tiny holds 2,048"):
            make_writer(
                store=store, snapshot=store.snapshot(), method="rag", backbone=plain, engine=engine, max_input_tokens=2048
            )
    with pytest.raises(BadInput, match="2,048 tokens leave no room") as error:
        train(store=store, backbone=plain, folder=tmp_path / "x", options=replace(OPTIONS, max_input_tokens=2048))
    assert error.value.hint == "--max-input-tokens 1024"


def test_reviews_are_learned_as_far_as_the_context_goes(store, backbone, tmp_path):
    options = replace(OPTIONS, epochs=1, max_input_tokens=2028, max_target_tokens=60)
    report = train(store=store, backbone=backbone, folder=tmp_path / "short", options=options)
    assert report.config["max_target_tokens"] == 20


def test_a_limit_takes_from_what_is_learned_and_leaves_what_is_held_out(store, backbone, tmp_path):
    reports, events = {}, []
    for limit in (None, 3):
        reports[limit] = train(
            store=store,
            backbone=backbone,
            folder=tmp_path / str(limit),
            options=replace(OPTIONS, epochs=1, limit=limit),
            on_event=events.append,
        )
    assert [report.train_reviews for report in reports.values()] == [8, 3] and reports[3].config["limit"] == 3
    assert reports[3].config["split"] == reports[None].config["split"]
    assert reports[3].losses["nonperso"] == reports[None].losses["nonperso"], "the same reviews are validated"
    assert {event["steps"] for event in events if "steps" in event} == {2, 1}  # of four reviews each


def test_a_template_cannot_run_code(tmp_path, store, backbone):
    evil = tmp_path / "evil.jinja"
    evil.write_text(
        "{% block system %}{{ cycler.__init__.__globals__.os.system('touch " + str(tmp_path / "owned") + "') }}{% endblock %}"
        "{% block user %}{% endblock %}"
    )
    with engines.load("transformers", backbone) as engine, pytest.raises(BadInput, match="template"):
        road = make_writer(
            store=store, snapshot=store.snapshot(), method="nonperso", backbone=backbone, engine=engine, template=str(evil)
        )
        request = find_request(store.snapshot(), store.snapshot().user_ids()[0], "new", item_title="Item")
        list(road.write([request], Sampling(max_new_tokens=4)))
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["../x", "", "a/b", ".hidden", "x\n", "ü", "x" * 101])
def test_adapter_names_cannot_leave_the_folder(name):
    with pytest.raises(BadInput):
        files.folder_of("profiles", name)


def test_unknown_users_and_items_are_not_found(store):
    snapshot = store.snapshot()
    with pytest.raises(NotFound, match="no user") as error:
        find_request(snapshot, "x' OR 1=1", "item")
    assert "8 users" in error.value.hint
    with pytest.raises(NotFound, match="no item 'nowhere'"):  # empty cells of a table describe nothing
        find_request(snapshot, snapshot.user_ids()[0], "nowhere", item_title="", item_description="")
    with pytest.raises(NotFound, match="no item") as error:
        find_request(snapshot, snapshot.user_ids()[0], "nowhere")
    assert "--item-title" in error.value.hint


def test_text_alone_is_compared_with_as_many_peers_as_an_adapter_so_that_one_may_join_later(store, backbone, tmp_path):
    plan = Plan(limit=1, history=OPTIONS.history)
    done = evaluate_store(
        store=store, backbone=backbone, variants=plain(["rag"], {}), out=tmp_path, sampling=Sampling(max_new_tokens=4), plan=plan
    )
    assert done["settings"]["min_peers"] == TrainOptions().min_peers


def test_texts_are_as_long_as_the_context_of_the_backbone_allows(store, backbone, tmp_path):
    events, plan = [], Plan(limit=1)
    done = evaluate_store(
        store=store,
        backbone=backbone,
        variants=plain(["rag"], {}),
        out=tmp_path,
        sampling=Sampling(),
        plan=plan,
        on_event=events.append,
    )
    room = 2048 - backbone.prompt_budget(2048)
    assert done["settings"]["sampling"]["max_new_tokens"] == room < Sampling().max_new_tokens
    assert {"note": f"texts have {room:,} tokens at most: {backbone.name} holds 2,048, with the prompt"} in events
