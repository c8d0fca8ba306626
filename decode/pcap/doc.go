// Package pcap writes and reads captures (pcapng, pcap), the files of Wireshark and
// tcpdump.
//
//	decode.Session ─► Event, Chunk ─► Writer ─► pcapng ─► Wireshark
//
// A [Writer] makes a capture of what a proxy has seen. The bytes that client and
// server sent are real, as are their times and, where they are known, the addresses;
// Ethernet, IP and TCP around them are made up, and say so in the section header. Of
// TLS the plain text is in the capture.
//
// A session has a TCP conversation between the client and the server that was dialled.
// HTTP exchanges on one connection share theirs. Where the proxy changes something, in
// a head or by a gate, the session goes on in two of them: on the interface
// client-leg, what the client sent and what was sent to it; on the interface
// server-leg, what was sent to the server and what that sent.
//
// Comments on packets have the session's number and URL, the rules that were broken,
// behind the word "finding:", and, on the last packet of a session, how it was closed.
package pcap
