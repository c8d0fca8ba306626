using System;
using System.Linq;
using System.Net.WebSockets;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

/// <summary>
/// A client written with ClientWebSocket: it sends a text and a binary message, waits for their
/// echoes and closes.
/// </summary>
static class Hello
{
    static async Task Talk(Uri uri)
    {
        var end = CancellationToken.None;
        using (var ws = new ClientWebSocket())
        {
            await ws.ConnectAsync(uri, end);
            foreach (var type in new[] { WebSocketMessageType.Text, WebSocketMessageType.Binary })
            {
                var message = type == WebSocketMessageType.Text
                    ? Encoding.UTF8.GetBytes("hello from ClientWebSocket")
                    : Enumerable.Range(0, 16).Select(i => (byte)i).ToArray();
                await ws.SendAsync(new ArraySegment<byte>(message), type, true, end);
                var buffer = new byte[100];
                var got = await ws.ReceiveAsync(new ArraySegment<byte>(buffer), end);
                if (got.MessageType != type || !buffer.Take(got.Count).SequenceEqual(message))
                    throw new Exception("another message");
            }
            await ws.CloseAsync(WebSocketCloseStatus.NormalClosure, "", end);
        }
    }

    static int Main(string[] args)
    {
        try
        {
            Talk(new Uri(args[0])).Wait();
            return 0;
        }
        catch (Exception e)
        {
            Console.Error.WriteLine(e);
            return 1;
        }
    }
}
