# Needs Go >= 1.26, git and make (GNU, 3.81 or newer). `make` lists the targets.

GO       ?= go
ARGS     ?=
FUZZTIME ?= 60s

# staticcheck and not golangci-lint: it is one module that `go run` builds for
# the Go at hand, without a second installer or a configuration; vet and it
# cover what we would enable there. Its first build takes about a minute.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' Makefile

.PHONY: build
build: ## build bin/beat
	$(GO) build -ldflags "-X main.version=$(VERSION)" -o bin/beat ./cmd/beat

.PHONY: servers
servers: ## install Postgres, Redis and RabbitMQ where they are missing
	@sh cmd/install-servers.sh postgres redis rabbitmq

.PHONY: demo
demo: ## run the main job with nothing but Postgres; ARGS="…" go to beat demo
	@sh cmd/install-servers.sh postgres
	@$(MAKE) --no-print-directory build
	bin/beat demo $(ARGS)

.PHONY: vet
vet: ## go vet
	$(GO) vet ./...

.PHONY: lint
lint: ## staticcheck
	$(GO) run $(STATICCHECK) ./...

# with-servers is built first because `go run` does not pass SIGTERM on.
# TESTARGS="-run Name ./package" narrows the run; TESTARGS=./... is everything.
TESTARGS ?= ./...
.PHONY: test
test: servers ## install what is missing, vet, lint, and test all against private servers
	@sh cmd/install-servers.sh cc
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) build -o bin/with-servers ./cmd/with-servers
	CGO_ENABLED=1 bin/with-servers -- $(GO) test -race -timeout 40m $(TESTARGS)

.PHONY: bench
bench: servers build ## run the benchmark; ARGS="…" go to beat bench
	bin/beat bench $(ARGS)

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (60s)
	@set -e; \
	grep -rlE --include='*_test.go' '^func Fuzz' . | sort | while read -r file; do \
		for name in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$file"); do \
			echo "== $$(dirname "$$file") $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" </dev/null; \
		done; \
	done

# Only these packages have the flag.
.PHONY: golden
golden: ## rewrite the golden files; review the diff
	@dirs=$$(grep -rl --include='*_test.go' '"beat/streams/golden"' . | xargs -n1 dirname | sort -u); \
	if [ -n "$$dirs" ]; then $(GO) test -count=1 $$dirs -update; fi

.PHONY: compose-check
compose-check: ## check docker-compose.yml
	@if docker compose version >/dev/null 2>&1; then docker compose config -q; fi
	$(GO) test ./cmd/beat -run Compose

.PHONY: fmt
fmt: ## gofmt all
	gofmt -l -w $$(find . -name '*.go' -not -path './.git/*')

.PHONY: clean
clean: ## remove what make built
	rm -rf bin
