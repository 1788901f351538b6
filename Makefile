# make: test and lint. Every target is one word.
.PHONY: all install test lint types docs bench fix ci

all: test lint types

install:
	pip install -c constraints.txt -e ".[test]"

test:
	pytest

lint:
	ruff check .
	ruff format --check .

types:
	mypy

docs:
	python docs/generate.py

bench:
	python -m bench

fix:
	ruff check --fix .
	ruff format .

ci:
	bash .ci/run
