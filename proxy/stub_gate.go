package proxy

import "github.com/wstrace/wstrace/decode"

type Note struct {
	Dir    decode.Dir
	Change string
	Text   string
}
type HeadDecision struct {
	Change string
	Edit   func(*decode.Head) *decode.Head
	Status int
	Body   string
}

func (o *Outlet) Note(d decode.Dir, change, text string) {}
func (o *Outlet) Reset(change string)                    {}

type Injection struct {
	Dir    decode.Dir
	Bytes  []byte
	Change string
}

const NotInjected = "not sent: the session ends, or too much waits already"
