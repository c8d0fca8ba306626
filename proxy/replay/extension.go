package replay

import (
	"slices"
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
			return o.Name == a.Name && (a.Name != "permessage-deflate" || decode.DeflateAnswers(o, a))
		}) {
			return false
		}
	}
	return true
}
