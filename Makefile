# Every door of the workspace. `make` alone prints this list.

SHELL := /bin/sh
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
# What mypy reads, one by one: in different members, files of tests may have the same name.
TYPED := $(wildcard libs/* services/* models/* loadtests tests tools conftest.py)

.PHONY: help
help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run:  ## set up what is needed, then serve the AI core on 127.0.0.1:8000, and the channels that have credentials
	@tools/setup.sh run && exec $(BIN)/python tools/run_services.py

.PHONY: chat
chat: .setup-base  ## talk to the running AI core in this terminal
	@exec $(BIN)/ai-core chat

.PHONY: test
# So many files at a time, in the order of the folders, so that the longest do not come last.
JOBS ?= 1
test: .setup-test converter  ## set up what the tests need, then run all of them (JOBS=2: two files at a time)
	@$(BIN)/pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

.PHONY: openvino onnx transformers llama
openvino:  ## install OpenVINO GenAI: GGUF and converted safetensors, no compiler needed (make run does it)
onnx:  ## install onnxruntime-genai: ONNX models
transformers:  ## install transformers and torch: safetensors, PEFT adapters
llama:  ## compile llama.cpp for this machine: every GGUF (some minutes)
openvino onnx transformers llama:
	@tools/setup.sh $@

.PHONY: converter
converter: .setup-base  ## install what converts safetensors for OpenVINO, in var/converter
	@exec $(BIN)/python -m ai_core.catalog.conversion.install

.PHONY: lint
# mypy ends with 2 where its workers do not start within three seconds, as on a busy machine.
lint: .setup-test  ## ruff, import-linter, mypy --strict
	@$(BIN)/ruff check --no-cache --quiet --output-format concise .
	@$(BIN)/ruff format --no-cache --check --output-format concise . || { echo "make format repairs this."; exit 1; }
	@$(BIN)/lint-imports --no-logo
	@failed=0; for member in $(TYPED); do \
	    MYPY_NUM_WORKERS=2 $(BIN)/mypy --no-error-summary $$member; status=$$?; \
	    if [ $$status -eq 2 ]; then $(BIN)/mypy --no-error-summary $$member; status=$$?; fi; \
	    [ $$status -eq 0 ] || failed=1; \
	done; exit $$failed
	@echo "mypy: no issues"

.PHONY: format
format: .setup-test  ## let ruff repair and format what it can
	@$(BIN)/ruff check --no-cache --quiet --fix --exit-zero --output-format concise . ; $(BIN)/ruff format --no-cache --quiet .

.PHONY: bench
bench: .setup-test  ## measure the engine and the server (minutes; LLAMA_SERVER=/path compares)
	@$(BIN)/python -m loadtests.bench

.PHONY: chaos chaos-telegram chaos-mail
# What is asked of one run is asked of the Telegram service; chaos-mail asks the other.
chaos: chaos-telegram $(if $(CHAOS),,chaos-mail)  ## both of the next two, one after the other
chaos-telegram: .setup-test  ## kill and cut off the Telegram service in 500 random runs (CHAOS="--help" says more)
	@PYTHONPATH=.:tools:tests/support:services/telegram/tests/support $(BIN)/python -m telegram_chaos $(CHAOS)
chaos-mail: .setup-test  ## the same for the mail service, in 300 runs over real mail servers
	@PYTHONPATH=.:tools:tests/support:services/mail/tests/support \
	    $(BIN)/python -m mail_chaos $(CHAOS)

.PHONY: load load-full
SUPPORT := .:tools:tests/support:services/ai-core/tests/support:services/telegram/tests/support:services/mail/tests/support
load: .setup-test  ## the whole suite under load: what is promised, as pass or miss (loadtests/README.md; 2 minutes)
	@PYTHONPATH=$(SUPPORT) $(BIN)/python -m loadtests.suite $(LOAD)
load-full: .setup-test  ## the same, then 100 clients, 1,000 people on Telegram and 1,000 mails at once (10 minutes)
	@PYTHONPATH=$(SUPPORT) $(BIN)/python -m loadtests.suite --full $(LOAD)

.PHONY: load-telegram load-mail
load-telegram: .setup-test  ## 1,000 people write to the Telegram service at once (locust; on both databases, 10 minutes)
	@PYTHONPATH=.:tools:tests/support:services/telegram/tests/support $(BIN)/python -m loadtests.telegram

load-mail: .setup-test  ## 1,000 mails at once, and 10,000 in the mailbox at the start (locust; MAIL_LOAD="--help" says more)
	@PYTHONPATH=.:tools:tests/support:services/mail/tests/support $(BIN)/python -m loadtests.mail $(MAIL_LOAD)

.PHONY: telegram-emulator
telegram-emulator:  ## try the Telegram service without a token: chat with it in the browser
	@tools/setup.sh run && PYTHONPATH=. exec $(BIN)/python -m tests.emulators.telegram

.PHONY: up down logs ps secrets test-alert backup restore test-deploy test-deploy-full
up:  ## start the whole suite with Docker (deploy/README.md)
	@deploy/up.sh
down:  ## stop it; nothing is lost
	@deploy/compose.sh down
logs:  ## what its services say, as they say it
	@deploy/compose.sh logs --follow --tail 100
ps:  ## which of its containers run, and how they are
	@deploy/compose.sh ps
secrets:  ## make the secrets that are missing, in deploy/secrets
	@deploy/secrets.sh
test-alert:  ## send an alert of each kind to those who hear them (deploy/README.md, Alerts)
	@for severity in page ticket; do deploy/compose.sh exec -T alertmanager amtool \
	    --alertmanager.url=http://127.0.0.1:9093 alert add TestAlert severity=$$severity \
	    --annotation=summary="Somebody has asked for this $$severity, to see whether it arrives"; done
backup:  ## make a backup now, in deploy/backups
	@deploy/compose.sh exec -T backup sh /opt/neo-backup/backup.sh
restore:  ## bring a backup back: make restore FILE=neo-….tar.gz (stops and starts the services)
	@deploy/restore.sh "$(FILE)"
WHOLE_SUITE := one_round.py confinement.py monitoring.py scanning.py keeping.py kills.py standing_apart.py scaled.py
test-deploy: .setup-deploy  ## build the images, start the suite in a Docker engine, go each way through it once
	@$(BIN)/pytest --timeout 1800 tests/deploy/suite/one_round.py tests/deploy/suite/confinement.py
test-deploy-full: .setup-deploy  ## the same with everything else, restored after a wipe, and each container killed (half an hour)
	@$(BIN)/pytest --timeout 1800 $(addprefix tests/deploy/suite/,$(WHOLE_SUITE))

.PHONY: test-install
test-install: .setup-deploy  ## try deploy/install.sh on Debian and Ubuntu, each in a folder (twenty minutes, root)
	@$(BIN)/pytest --timeout 1800 tests/deploy/real_install.py

.PHONY: dns
dns:  ## print the DNS records that the domains in .env need; CHECK=1 asks whether they are set
	@PYTHONPATH=tools exec $(or $(wildcard $(BIN)/python),python3) -m domains $(if $(CHECK),--check) $(addprefix --address ,$(ADDRESS))

.PHONY: dashboards
dashboards:  ## renew Grafana's dashboards from tools/dashboards.py
	@python3 tools/dashboards.py

.PHONY: openapi
openapi: .setup-test  ## renew services/ai-core/openapi.json, the committed description of the API
	@PYTHONPATH=services/ai-core/tests/support:tests/support:tools $(BIN)/python services/ai-core/tests/support/openapi_file.py

.PHONY: demo-model
demo-model: .setup-test  ## train the demo model again from its recipe (about an hour)
	@$(BIN)/python models/neo-demo/make.py

.PHONY: demo-adapter
demo-adapter: .setup-test  ## train the demo model's LoRA adapter again from its recipe (some minutes)
	@$(BIN)/python models/neo-demo/make.py adapter

.PHONY: lock
lock: .setup-test  ## renew the locks in requirements/ from the .in files
	@$(BIN)/python tools/lock_requirements.py

.PHONY: clean
clean:  ## remove what can be made again: .venv, caches, var/ except the models
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache var/log var/run var/wheels \
	    var/converter var/converter.lock var/converter.log var/docker
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: .setup-base .setup-test .setup-deploy
.setup-base .setup-test .setup-deploy: .setup-%:
	@tools/setup.sh $*
