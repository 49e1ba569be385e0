package tests

import (
	"crypto/tls"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"keelson/services/gate/keys"
	"keelson/testvm/browser"
	"keelson/testvm/vm/vmtest"
)

// pageOf returns the page of a gate as a client sees it.
func pageOf(t *testing.T, dir, address, name string) *browser.Browser {
	t.Helper()
	load := func(cert, key string) tls.Certificate {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return pair
	}
	files := keys.FilesOf(dir, name)
	own := load(filepath.Join(dir, "server/server.crt"), filepath.Join(dir, "server/server.key"))
	url := browser.Present(t, address, own, &tls.Config{Certificates: []tls.Certificate{load(files.Cert, files.Key)}, InsecureSkipVerify: true})
	b := browser.Start(t)
	b.Look(1440, 900, false)
	b.Open(url + "/")
	return b
}

// state is an expression for the state that the page shows for a service.
func state(name string) string {
	return fmt.Sprintf(`document.querySelector("[data-service=%s] .badge")?.textContent`, name)
}

// In Chromium, the page shows what the machine does, live, and steers it, by mouse and by keyboard.
func checkPage(t *testing.T, v *vmtest.VM, dir string) {
	address := v.Addr(7443)
	b := pageOf(t, dir, address, "admin")
	for _, name := range []string{"agent", "gate", "port", "redis", "relay", "trap", "web"} {
		b.Wait(state(name) + ` == "running"`)
	}
	b.Wait(`document.querySelector("#client").textContent == "admin (admin)"`)
	b.Wait(`document.querySelector("#connection").textContent == "live"`)
	b.Wait(`/^\d.* %$/.test(document.querySelector("[data-service=redis] .cpu span").textContent)`)
	b.Wait(`/^\d.* MiB$/.test(document.querySelector("[data-service=redis] .memory span").textContent)`)
	b.Wait(`document.querySelector("[data-service=redis] .memory .line").getAttribute("d").includes("L")`)
	b.Wait(`parseInt(document.querySelector("[data-service=redis] .since").textContent) > 0`) // The machine's clock is years ahead.
	b.Wait(`document.querySelector("#boot").innerText.includes("onboot 000-first")`)
	b.Wait(`document.querySelectorAll("#boot .span.onboot").length == 4 && document.querySelectorAll("#boot .span.service").length >= 7`)
	b.Wait(`document.querySelector("#events").innerText.includes("system")`)
	b.Click(`[aria-label="Show the logs of trap"]`)
	b.Wait(`document.querySelector("#log-name").value == "trap" && document.querySelector("#log").innerText.includes("waiting for SIGTERM")`)
	for _, look := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"desktop-light", 1440, 900, false}, {"desktop-dark", 1440, 900, true}, {"phone-light", 390, 844, false}, {"phone-dark", 390, 844, true}} {
		b.Look(look.width, look.height, look.dark)
		b.Wait(fmt.Sprintf("innerWidth == %d", look.width))
		if over := browser.Value[float64](b, "document.documentElement.scrollWidth - innerWidth"); over > 0 {
			t.Errorf("%s: the page is wider than the screen by %v pixels", look.name, over)
		}
		if dark := browser.Value[bool](b, `getComputedStyle(document.body.parentElement).backgroundColor.match(/\d+/)[0] < 128`); dark != look.dark {
			t.Errorf("%s: the page is dark: %v", look.name, dark)
		}
		b.Screenshot(look.name)
	}
	b.Look(1440, 900, false)
	checkKeyboard(t, b)
	// The question is asked again before the browser has told the page that it was closed.
	browser.Value[bool](b, `(button => { button.click(); document.querySelector("#confirm").close(); button.click(); return true })(document.querySelector('[aria-label="Restart web"]'))`)
	b.Wait(`document.querySelector("#confirm").open`)
	b.Click("#confirm-yes")
	b.Wait(`[...document.querySelectorAll("#events li")].some(li => li.textContent.includes("restart") && li.textContent.includes("by admin (admin) through the gate"))`)
	b.Wait(state("web") + ` == "running"`)
	if problems := b.Problems(); len(problems) > 0 {
		t.Errorf("the console of the page has %q", problems)
	}
	checkReader(t, dir, address)
}

// Everything can be reached and used by the keyboard alone, and has a name.
func checkKeyboard(t *testing.T, b *browser.Browser) {
	focused := func() string {
		return browser.Value[string](b, `(e => (e.getAttribute("aria-label") || e.labels?.[0]?.textContent || e.textContent || e.getAttribute("aria-labelledby") || "").trim().slice(0, 40))(document.activeElement)`)
	}
	var seen []string
	browser.Value[bool](b, `(document.activeElement.blur(), true)`)
	for range 60 {
		b.Press("\t")
		if browser.Value[bool](b, `document.activeElement == document.body`) { // After the last element.
			continue
		}
		name := focused()
		if name == "" {
			t.Errorf("an element without a name has the focus: %s", browser.Value[string](b, "document.activeElement.outerHTML.slice(0, 200)"))
		}
		if outline := browser.Value[string](b, `getComputedStyle(document.activeElement).outlineStyle`); outline == "none" {
			t.Errorf("the focus on %q is not visible", name)
		}
		if seen = append(seen, name); name == "Stop web" {
			break
		}
	}
	for _, name := range []string{"Show the logs of redis", "Stop redis", "Restart redis", "Stop web"} {
		if !slices.Contains(seen, name) {
			t.Fatalf("the keyboard does not reach %q, only %q", name, seen)
		}
	}
	b.Screenshot("focus")
	b.Press("\r")
	b.Wait(`document.querySelector("#confirm").open && document.activeElement.id == "confirm-no"`)
	b.Screenshot("dialog")
	b.Press("\x1b")
	b.Wait(`!document.querySelector("#confirm").open && document.activeElement.getAttribute("aria-label") == "Stop web"`)
	b.Press("\r")
	b.Wait(`document.querySelector("#confirm").open && document.activeElement.id == "confirm-no"`)
	b.Press("\t")
	b.Wait(`document.activeElement.id == "confirm-yes"`)
	b.Press("\r")
	b.Wait(state("web") + ` == "stopped"`)
	browser.Value[bool](b, `(document.querySelector("[aria-label='Start web']").focus(), true)`)
	b.Press("\r")
	b.Wait(state("web") + ` == "running"`)
}

// A reader sees the services, and cannot steer them, whatever the page does.
func checkReader(t *testing.T, dir, address string) {
	b := pageOf(t, dir, address, "reader")
	b.Wait(state("redis") + ` == "running"`)
	b.Wait(`document.querySelector("#log-note").textContent.includes("role operator")`)
	if n := browser.Value[int](b, `document.querySelectorAll("td.orders button").length`); n != 0 {
		t.Errorf("a reader has %d buttons", n)
	}
	for _, headers := range []string{`{"Keelson-Page": "1"}`, `{}`} {
		browser.Value[bool](b, `window.got = 0; fetch("/v1/services/redis/stop", {method: "POST", headers: `+headers+`}).then(r => window.got = r.status) && true`)
		b.Wait("window.got != 0")
		if got := browser.Value[int](b, "window.got"); got != 403 {
			t.Errorf("a reader's order with %s: %d", headers, got)
		}
	}
	for _, problem := range b.Problems() {
		if !strings.Contains(problem, "403") {
			t.Errorf("the console of the page has %q", problem)
		}
	}
}
