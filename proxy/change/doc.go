// Package change alters what passes a proxy: it drops, delays, edits and adds frames and
// breaks connections, as lines say that a user writes.
//
//	when op == text and from == server every 3 do drop
//	when json.type == "trade" do set $.price 0
//	every 20s do inject < ping
//	when path == /chat after 30s once do close 1012 "restart"
//	when path == /chat do header -Sec-WebSocket-Extensions
//
//	line ──► ParseLine ──► Line ──┐
//	                    Changes ──┴──► NewGate ──► gate of a session ──► Decision
//
// # Grammar
//
//	line    = [ "when" filter ] { trigger } "do" action { "," action } [ "also" ] .
//	trigger = "every" number | "every" duration | "after" number | "after" duration | "once"
//	        | "p=" fraction .
//	filter  = as in package filter .
//
// # Meaning
//
// An event that filter selects is a match of the line; without "when" each frame is. All
// triggers have to agree that the line acts now. Matches and chances count by line,
// session and direction, but "once" by line and session. "after TIME" and "every TIME"
// begin at the first match; a line that acts on the session alone does so when it is
// time, without waiting for another match.
//
// A frame, or a message, is subject to the first line that acts on it, and to later ones
// as long as each before them ends with "also".
//
// A line is about whole messages if its filter looks into them, or if one of its actions
// changes what they say; about control frames too if it changes no message, and its filter
// names op, or it acts on the session alone. Then the frames of a message are held until it is complete, or
// longer than [MaxHeld]; so it is judged by its content, and its frames share what
// happens. A message is not held that no line can be about, by its direction or by where
// it goes. A filter of fields of the frame alone holds nothing. What is decided on the
// first frame of a message by "drop" holds for the frames that continue it; "dup" is about
// that frame alone, and copies the message. Control frames overtake what is held.
//
// Behind "also" the conditions of later lines still see what came, and only their actions
// see what the lines before have made. [Changes.Set] has counts and times begin anew.
//
// # How the stream stays valid
//
// A frame to the server that is made or changed has a masking key of its own. A message
// that is changed goes as one frame, uncompressed. Once a compressed message was changed
// or dropped, the windows of the two ends differ, where they are kept between messages:
// from then on each compressed message of that direction goes out inflated, in
// uncompressed fragments (RFC 7692 §6). If one can't be inflated, both sides get a Close
// with 1011. Copies and injections are never compressed.
package change
