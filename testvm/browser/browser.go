// Package browser drives Debian's Chromium for tests of pages.
package browser

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"keelson/testvm/tier"
)

// patience bounds all that a test does with a browser, on a slow machine too.
const patience = 15 * time.Minute

// Browser is a running Chromium with one page.
type Browser struct {
	t   testing.TB
	ctx context.Context

	mu       sync.Mutex
	problems []string
}

// Start starts Chromium without a window. It accepts every certificate of a server: the connection
// is the test's own.
func Start(t testing.TB) *Browser {
	t.Helper()
	tier.Tool(t, "chromium", "chromium")
	b := &Browser{t: t}
	all, stop := chromedp.NewExecAllocator(context.Background(), chromedp.Headless, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.ExecPath("chromium"), chromedp.NoSandbox, // Root needs that.
		chromedp.IgnoreCertErrors, chromedp.DisableGPU, chromedp.UserDataDir(t.TempDir()), chromedp.WSURLReadTimeout(patience))
	page, closePage := chromedp.NewContext(all, chromedp.WithListener(b.listen))
	var cancel context.CancelFunc
	b.ctx, cancel = context.WithTimeout(page, patience)
	t.Cleanup(func() {
		closePage()
		cancel()
		stop()
	})
	b.Do(chromedp.Navigate("about:blank"))
	return b
}

// listen remembers errors that the page reports on its console, refusals of its content security
// policy among them.
func (b *Browser) listen(event any) {
	text := ""
	switch e := event.(type) {
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" {
			text = e.Entry.Text + " " + e.Entry.URL
		}
	case *runtime.EventExceptionThrown:
		text = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
	}
	if text == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.problems = append(b.problems, text)
}

// Problems returns the errors of the page since the last call.
func (b *Browser) Problems() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := b.problems
	b.problems = nil
	return all
}

// Do carries out actions, and ends the test if one fails.
func (b *Browser) Do(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.fail(err)
	}
}

func (b *Browser) fail(err error) {
	b.t.Helper()
	text, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	b.t.Fatalf("the page: %v; it shows: %s; problems: %q", err, text, b.Problems())
}

// Wait waits until an expression in JavaScript is true.
func (b *Browser) Wait(expression string) {
	b.t.Helper()
	_, err := chromedp.Run(b.ctx, chromedp.Poll[bool]("!!("+expression+")", chromedp.WithPollingTimeout(patience), chromedp.WithPollingInterval(50*time.Millisecond)))
	if err != nil {
		b.fail(fmt.Errorf("it never has %s: %w", expression, err))
	}
}

// Value returns what an expression in JavaScript is.
func Value[T any](b *Browser, expression string) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.fail(err)
	}
	return v
}

// Look sets the size of the page, and whether the user prefers dark pages.
func (b *Browser) Look(width, height int64, dark bool) {
	b.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	b.Do(chromedp.EmulateViewport(width, height))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	if err != nil {
		b.fail(err)
	}
}

// Screenshot writes a picture of the whole page to the artifacts of the test.
func (b *Browser) Screenshot(name string) {
	b.t.Helper()
	picture, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), picture, 0o644)
	}
	if err != nil {
		b.fail(err)
	}
}

// Press presses keys one after the other: Tab is "\t", Enter "\r", Escape "\x1b".
func (b *Browser) Press(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		b.Do(chromedp.KeyEvent(key))
	}
}

// Click clicks on the element that a selector of CSS names.
func (b *Browser) Click(selector string) {
	b.t.Helper()
	b.Do(chromedp.Click(selector))
}

// Open opens a page.
func (b *Browser) Open(url string) {
	b.t.Helper()
	b.Do(chromedp.Navigate(url))
}

// Present returns a URL at which each connection is passed on to a server over TLS with a client
// certificate, which a browser without a window cannot be asked for. Only the layer of TLS is
// replaced.
func Present(t testing.TB, address string, own tls.Certificate, client *tls.Config) (url string) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{own}, NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		l.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { pass(ctx, near, address, client) })
		}
	})
	return "https://" + strings.Replace(l.Addr().String(), "127.0.0.1", "localhost", 1)
}

// pass copies both ways until one side ends.
func pass(ctx context.Context, near net.Conn, address string, client *tls.Config) {
	defer near.Close()
	far, err := (&tls.Dialer{Config: client}).DialContext(ctx, "tcp", address)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(ctx, func() {
		near.Close()
		far.Close()
	})
	defer stop()
	go func() {
		_, _ = io.Copy(far, near)
		far.Close()
	}()
	_, _ = io.Copy(near, far)
}
