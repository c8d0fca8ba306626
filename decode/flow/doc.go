// Package flow reads the flow files of mitmproxy (.flow, .mitm), of the format
// versions 17 to 21.
//
// Such a file is one flow after the other, each a dictionary in the notation of
// tnetstrings. Of HTTP it has heads, without their line ends, and bodies without their
// transfer coding; of WebSocket messages, put together and inflated. Which frames they
// came in is not known ([decode.Info.NoFrames]).
package flow
