package replay

import (
	"slices"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// sameExtensions reports whether two lists of extensions (RFC 6455 §9.1) mean
// the same: the order of parameters does not matter.
func sameExtensions(a, b []string) bool {
	as, err1 := parseExtensions(a)
	bs, err2 := parseExtensions(b)
	if err1 != nil || err2 != nil {
		return slices.Equal(a, b)
	}
	return slices.EqualFunc(as, bs, func(x, y decode.Extension) bool {
		return strings.EqualFold(x.Name, y.Name) && slices.Equal(x.Params, y.Params)
	})
}

// parseExtensions parses a list, which may be empty, and sorts parameters.
func parseExtensions(lines []string) ([]decode.Extension, error) {
	if strings.TrimSpace(strings.Join(lines, "")) == "" {
		return nil, nil
	}
	es, err := decode.ParseExtensions(lines)
	for _, e := range es {
		slices.SortFunc(e.Params, func(a, b decode.Param) int { return strings.Compare(a.Name, b.Name) })
	}
	return es, err
}

// accepts reports whether a client that sent an offer may get an answer. Lists
// that can't be parsed are not looked into.
func accepts(offer, answer []string) bool {
	offers, _ := parseExtensions(offer)
	answers, _ := parseExtensions(answer)
	for _, a := range answers {
		if !slices.ContainsFunc(offers, func(o decode.Extension) bool {
			return strings.EqualFold(o.Name, a.Name) && (!strings.EqualFold(a.Name, "permessage-deflate") || deflateFits(o.Params, a.Params))
		}) {
			return false
		}
	}
	return true
}

// deflateFits reports whether the parameters with which a server accepts
// permessage-deflate answer those of an offer (RFC 7692 §7.1).
func deflateFits(offer, answer []decode.Param) bool {
	_, asksForNone := param(offer, "server_no_context_takeover")
	_, hasNone := param(answer, "server_no_context_takeover")
	if asksForNone && !hasNone {
		return false
	}
	if most, asks := param(offer, "server_max_window_bits"); asks {
		bits, has := param(answer, "server_max_window_bits")
		m, err1 := strconv.Atoi(most)
		n, err2 := strconv.Atoi(bits)
		if !has || err1 != nil || err2 != nil || n > m {
			return false
		}
	}
	_, may := param(offer, "client_max_window_bits")
	_, has := param(answer, "client_max_window_bits")
	return may || !has
}

func param(params []decode.Param, name string) (value string, ok bool) {
	for _, p := range params {
		if strings.EqualFold(p.Name, name) {
			return p.Value, true
		}
	}
	return "", false
}
