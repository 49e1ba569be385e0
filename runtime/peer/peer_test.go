package peer

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestPeer(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := Of(conn.(*net.UnixConn))
	if err != nil || int(peer.Pid) != os.Getpid() || int(peer.Uid) != os.Geteuid() || int(peer.Gid) != os.Getegid() {
		t.Errorf("got %+v, %v", peer, err)
	}
	conn.Close()
	if _, err := Of(conn.(*net.UnixConn)); err == nil {
		t.Error("a closed connection has a peer")
	}
}
