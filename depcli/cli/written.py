"""What `dep write` tells of one review, and of a file of them."""

from __future__ import annotations

from dataclasses import asdict

from depcli.methods import find
from depcli.methods.base import MIN_PEERS
from depcli.words import count


def document_of(written, parts, sampling, snapshot, writer, show_prompt: bool) -> dict:
    """One review with all that it was made from, ready for JSON."""
    request, prompt, completion = written.request, written.prompt, written.completion
    return {
        "text": completion.text,
        "finish": completion.finish,
        "user_id": request.user_id,
        "item": {"asin": request.item.asin, "title": request.item.title, "description": request.item.description},
        "rating": request.rating,
        "title": request.title,
        "method": parts.method,
        "engine": parts.engine,
        "backbone": parts.backbone.name,
        "adapter": parts.adapter.name if parts.adapter else None,
        "store_commit": snapshot.commit.id,
        "as_of": snapshot.moment,
        "caution": writer.caution,
        "adapter_as_of": (writer.adapter_config or {}).get("as_of"),
        "min_peers": writer.builder.min_peers,
        "history": writer.builder.k,
        "choices": asdict(writer.builder.choices),
        "seed": sampling.seed,
        "request_seed": written.seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_new_tokens": sampling.max_new_tokens,
        "prompt_tokens": completion.prompt_tokens,
        "generated_tokens": completion.generated_tokens,
        "seconds": round(completion.seconds, 3),
        "reviews_used": [
            {
                "asin": past.review.asin,
                "item_title": past.item.title,
                "rating": past.review.rating,
                "title": past.review.title,
                "timestamp": past.review.timestamp,
                "peers": past.peers,
            }
            for past in prompt.shown
        ],
        "reviews_dropped": prompt.dropped,
        "reviews_pooled": len(prompt.pooled),
        **({"prompt": prompt.render()} if show_prompt else {}),
    }


def tell_written(sink, document: dict) -> None:
    """What a person wants to know beside the text."""
    used, pooled = document["reviews_used"], document["reviews_pooled"]
    method = find(document["method"])
    needed = max(document["min_peers"], MIN_PEERS if method.peers else 1)
    few = "without peers" if needed == 1 else f"with fewer than {needed} peers"
    alone = sum(past["peers"] < needed for past in used)
    matters = alone and (method.peers or method.slots)
    said = [f"{count(len(used), 'past review')} read" + (f", {alone} of them {few}" if matters else "")]
    if pooled:
        said = [f"the vectors of {count(pooled, 'past review')} read as one soft token"]
    if document["reviews_dropped"]:
        said.append(f"{document['reviews_dropped']} left out, the prompt was full")
    said.append(f"{document['prompt_tokens']:,} tokens read, {document['generated_tokens']:,} written")
    said.append(f"{document['seconds']:.1f} s, seed {document['seed']}")
    sink.note("; ".join(said))
    if used and alone == len(used) and method.peers:
        sink.note(f"so this profile compares with nobody: it is what pag makes, and not {document['method']}")
    learned = document["adapter_as_of"]
    if document["as_of"] is not None and document["adapter"] and (learned is None or learned > document["as_of"]):
        sink.note("the adapter has learned from later reviews too: dep train --as-of makes one that has not")
    if document["finish"] == "length":
        sink.note("the review was cut off: raise --max-new-tokens")


def show_batch(sink, requests: str, out, report) -> None:
    """How many lines of a requests file were written, and why the first ones that were not could not be."""

    document = {"requests_file": requests, "out": str(out), **asdict(report), "written": report.written}
    speed = f", {report.generated_tokens / report.seconds:,.0f} tokens/s" if report.generated_tokens and report.seconds else ""
    said = count(report.written, "review") + (f", {report.failed:,} not written" if report.failed else "")
    said += f"; {count(report.kept, 'line')} already there" if report.kept else ""
    sink.result(document, lambda: sink.line(f"{out}: {said}, in {report.seconds:.1f} s{speed}"))
    if report.kept_failed:
        said = f"{count(report.kept_failed, 'line')} of an earlier run had an error, which stays"
        sink.note(f"{said}: to try again, put such requests into a file of their own")
    for entry in report.first_errors:
        sink.note(f"{_called(requests)}, line {entry['line']}: {entry['error']}")
    if report.failed > len(report.first_errors):
        sink.note(f"and {report.failed - len(report.first_errors):,} more; `error` in {out} says why")


def tell_unknown(sink, requests: str, names: list[str]) -> None:
    """Fields of a requests file that mean nothing: one of them may be misspelt."""
    from depcli.readers.requests import FIELDS

    sink.note(f"{_called(requests)}: nothing is made of {', '.join(names)}; a request may have {', '.join(FIELDS)}")


def _called(requests: str) -> str:
    return "standard input" if requests == "-" else requests


def show_progress(update, event: dict) -> None:
    """One step of the bar."""
    speed = event["generated_tokens"] / event["seconds"] if event["seconds"] else 0
    failed = f", {event['failed_requests']:,} not written" if event["failed_requests"] else ""
    update(event["done_requests"], event["total_requests"], f"{speed:,.0f} tokens/s{failed}")
