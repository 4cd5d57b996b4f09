"""Judgements and runs with many ties, and what trec_eval makes of them: writes
tests/data/measures/{qrels,run}-N.txt and expected.txt.

    pip install pytrec-eval-terrier
    python make_measures.py

pytrec_eval leaves out queries that a run has nothing for; as with trec_eval -c they count 0 here.
MRR@10 has no name in trec_eval: it is recip_rank of the run cut after ten results.
"""
import os
import random
import struct

import pytrec_eval

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "measures")
NAMES = ["ndcg_cut_10", "mrr_10", "recip_rank", "map", "recall_1", "recall_10", "recall_100",
         "success_1", "success_5", "success_10", "success_20", "success_100"]
MEASURES = {"ndcg_cut.10", "recip_rank", "map", "recall.1,10,100", "success.1,5,10,20,100"}
random.seed(20260102)


def judgements(queries, documents, most, grades):
    qrels = {}
    for query in range(queries):
        judged = random.sample(range(documents), random.randint(1, most))
        qrels[f"q{query}"] = {f"d{d}": random.choice(grades) for d in judged}
    return qrels


def results(qrels, documents, most, scores, missing):
    run = {"q-unjudged": {"d1": 1.0}}
    for query in qrels:
        if random.random() >= missing:
            found = random.sample(range(documents), random.randint(1, most))
            run[query] = {f"d{d}": random.choice(scores) for d in found}
    return run


def rank(row):
    docid, score = row
    return struct.unpack("f", struct.pack("f", score)), docid


def cut(run, depth):
    """The first results by score as a float, then by document, both from high to low."""
    return {query: dict(sorted(rows.items(), key=rank, reverse=True)[:depth])
            for query, rows in run.items()}


def expected(qrels, run):
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, MEASURES)
    topics = evaluator.evaluate(run)
    first_ten = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(cut(run, 10))
    for query, topic in topics.items():
        topic["mrr_10"] = first_ten[query]["recip_rank"]
    return {name: sum(topic[name] for topic in topics.values()) / len(qrels) for name in NAMES}


def write(number, qrels, run, answers):
    with open(os.path.join(OUT, f"qrels-{number}.txt"), "w") as out:
        for query, rows in qrels.items():
            for docid, grade in rows.items():
                out.write(f"{query} 0 {docid} {grade}\n")
    lines = [f"{query} Q0 {docid} 0 {score!r} tag\n"
             for query, rows in run.items() for docid, score in rows.items()]
    random.shuffle(lines)
    with open(os.path.join(OUT, f"run-{number}.txt"), "w") as out:
        out.writelines(lines)
    for name, value in expected(qrels, run).items():
        answers.write(f"{number} {name} {value!r}\n")


if __name__ == "__main__":
    os.makedirs(OUT, exist_ok=True)
    CASES = [  # queries, documents, most judged, grades, most found, scores, missing
        (30, 60, 12, [0, 1], 40, [0.5, 1.0, 1.5], 0.1),
        (25, 150, 30, [-1, 0, 1, 2, 3], 130, [i / 8 for i in range(-20, 20)], 0.2),
        (20, 40, 3, [0, 0, 1], 30, [0.1], 0.0),
        # equal as floats, different as doubles
        (20, 50, 8, [0, 1, 5], 40, [0.3 + i * 1e-9 for i in range(9)] + [1e-30, 2e-30], 0.1),
        (40, 300, 5, [1], 12, [i / 1000 for i in range(1000)], 0.5),
    ]
    with open(os.path.join(OUT, "expected.txt"), "w") as answers:
        for number, (queries, documents, judged, grades, found, scores, missing) in enumerate(CASES):
            qrels = judgements(queries, documents, judged, grades)
            write(number, qrels, results(qrels, documents, found, scores, missing), answers)
