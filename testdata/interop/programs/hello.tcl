# A client written with Tcl's websocket package: it sends a text and a binary message,
# waits for their echoes and closes.
#
#     tclsh hello.tcl URL
package require websocket
package require tls

if {[info exists ::env(SSL_CERT_FILE)]} {
    set ca $::env(SSL_CERT_FILE)
} else {
    set ca /etc/ssl/certs/ca-certificates.crt
}
http::register https 443 [list ::tls::socket -autoservername true -require true -cafile $ca]
set binary [binary format c* {0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15}]

proc handle {ws type data} {
    switch $type {
        connect { websocket::send $ws text "hello from Tcl" }
        text {
            if {$data ne "hello from Tcl"} { exit 1 }
            websocket::send $ws binary $::binary
        }
        binary {
            if {$data ne $::binary} { exit 1 }
            websocket::send $ws 8 [binary format S 1000] ;# websocket::close sends nothing
        }
        close { exit 0 }
        disconnect { exit 1 }
        error { puts stderr $data; exit 1 }
    }
}
websocket::open [lindex $argv 0] handle
vwait forever
