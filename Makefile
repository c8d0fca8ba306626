.PHONY: build demo test fuzz lint bench fmt

build: # ./wstrace
	CGO_ENABLED=0 go build ./cmd/wstrace

demo: build # a chat with the proxy in the middle
	./wstrace demo

test: # everything; sets up what it needs
	testdata/setup.sh
	go vet ./... && go test -race ./...
	go test -run 'AllocatesNothing|NoAllocations' ./decode/... ./proxy ./render # the race detector allocates
	cd testdata/interop && go vet ./... && go test -race ./...

fuzz: # every fuzz target for FUZZTIME, 10s unless given
	testdata/fuzz.sh

lint:
	go vet ./... && ! gofmt -l . | grep .
	go run honnef.co/go/tools/cmd/staticcheck@v0.8.2 ./...

bench: # ratios to a plain copying relay count, not times
	go test -run '^$$' -bench . ./decode/... ./proxy/...

fmt:
	gofmt -s -w .
	go fix ./...
