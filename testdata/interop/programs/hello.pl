# A client written with Mojolicious: it sends a text and a binary message, waits for
# their echoes and closes.
#
#     hello.pl URL
use Mojo::Base -strict;
use Mojo::IOLoop;
use Mojo::UserAgent;

my @messages = ({text => 'hello from Mojolicious'}, {binary => pack 'C*', 0 .. 15});
my ($got, $code) = (0, 0);
my $ua = Mojo::UserAgent->new;
$ua->websocket($ARGV[0] => sub {
    my ($ua, $tx) = @_;
    die $tx->error ? $tx->error->{message} : 'no WebSocket' unless $tx->is_websocket;
    for my $kind (qw(text binary)) {
        $tx->on($kind => sub {
            my ($tx, $message) = @_;
            die "another $kind" unless $message eq $messages[$got++]{$kind};
            $got < @messages ? $tx->send($messages[$got]) : $tx->finish(1000);
        });
    }
    $tx->on(finish => sub { $code = $_[1] });
    $tx->send($messages[0]);
});
Mojo::IOLoop->singleton->reactor->on(error => sub { say STDERR $_[1]; exit 1 });
Mojo::IOLoop->start; # until there is nothing left to do
exit($got == @messages && $code == 1000 ? 0 : 1);
