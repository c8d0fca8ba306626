.PHONY: build demo setup test soak fuzz lint bench fmt

SHELL = bash
COUNT = 5
staticcheck = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2

# progress passes on of go test -v what says how far it is, fails or is skipped.
progress = grep --line-buffered -Ev '^=== (PAUSE|CONT|NAME)|^=== RUN .*/.*/|^ +--- PASS'

build: # ./wstrace
	CGO_ENABLED=0 go build ./cmd/wstrace

demo: build # a chat with the proxy in the middle
	./wstrace demo

setup: # what the tests need besides Go
	testdata/setup.sh

# alone are the packages whose code is called by one goroutine at a time.
alone = $$(go list ./decode/... ./render | grep -v '/decode$$')

test: setup # everything but what soak adds
	go test -race -skip '^TestScripts$$' ./cmd/... ./proxy/... ./decode
	go test -run '^TestScripts$$' ./cmd/wstrace # soak runs them with the race detector
	go test $(alone)
	go test -run 'AllocatesNothing|NoAllocations' ./decode/... ./proxy ./render # the race detector allocates
	set -o pipefail; cd testdata/interop && go test -race -v -timeout 20m ./... | $(progress)

soak: setup # every conversation, and COUNT times what many connections do at once
	set -o pipefail; cd testdata/interop && SOAK=true go test -race -v -count 1 -timeout 1h ./... | $(progress)
	set -o pipefail; SOAK=true go test -race -v -count $(COUNT) -timeout 1h -run 'Plays|AtOnce|Chats|Together|Thousand|BothSides|EachMutation' ./proxy ./proxy/change ./proxy/replay | $(progress)
	go test -race -count 1 -timeout 1h -run '^TestScripts$$' ./cmd/wstrace
	set -o pipefail; SOAK=true go test -v -count 1 -timeout 1h -run 'Mutated|Many|Redaction|Chromium' ./cmd/wstrace | $(progress)

fuzz: # every fuzz target for FUZZTIME, 10s unless given
	testdata/fuzz.sh

lint:
	! gofmt -l . | grep .
	go vet ./... && $(staticcheck) ./...
	cd testdata/interop && go vet ./... && $(staticcheck) ./...
	GOARCH=arm64 go vet ./cmd/wstrace/internal/child/... && GOOS=darwin go vet ./cmd/wstrace/internal/child/...

bench: # MB/s and of-copy, the ratio to a relay that only copies: more is better; all else: less is
	go test -run '^$$' -bench . ./...

fmt:
	gofmt -s -w .
	go fix ./...
