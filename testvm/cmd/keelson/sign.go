package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"keelson/runtime/artifact/signature"
	"keelson/testvm/image/signing"
)

type signCmd struct {
	Artifact string `arg:"" type:"path" help:"Bundle artifact: a folder with an OCI image layout, or a tar of it. It is changed."`
	Key      string `required:"" type:"existingfile" help:"Secret key of minisign. Its password is asked for, or read from standard input." placeholder:"FILE"`
}

// Run signs the manifests of the artifact and prints them.
func (c *signCmd) Run() error {
	key, err := loadKey(c.Key)
	if err != nil {
		return err
	}
	signed, err := signing.Sign(c.Artifact, key)
	if err != nil {
		return err
	}
	printSigned(signed)
	return nil
}

// loadKey reads a secret key, whose password it asks for.
func loadKey(path string) (*signing.Key, error) {
	return signing.LoadKey(path, func() (string, error) { return password(path) })
}

// signingKey reads the key of --sign for the artifact out. It is nil without --sign.
func signingKey(sign, out string) (*signing.Key, error) {
	switch {
	case sign == "":
		return nil, nil
	case out == stdout:
		return nil, errors.New("cannot sign what is written to standard output: give -o a name, or use keelson sign")
	}
	return loadKey(sign)
}

type verifyCmd struct {
	Artifact string   `arg:"" type:"path" help:"Bundle artifact: a folder with an OCI image layout, or a tar of it."`
	Key      []string `required:"" type:"existingfile" help:"Public keys of minisign; a signature by one is enough." placeholder:"FILE"`
}

// Run prints the manifests of the artifact. The error names those that are not signed.
func (c *verifyCmd) Run() error {
	var keys []signature.Key
	for _, path := range c.Key {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("cannot read the public key: %w", err)
		}
		key, err := signature.ParseKey(string(text))
		if err != nil {
			return fmt.Errorf("cannot read the public key %s: %w", path, err)
		}
		keys = append(keys, key)
	}
	signed, err := signing.Verify(c.Artifact, keys)
	if err != nil {
		return err
	}
	printSigned(signed)
	return nil
}

func printSigned(all []signing.Manifest) {
	for _, m := range all {
		fmt.Println(m.Name, m.Architecture, m.Digest)
	}
}

// password reads a password from the terminal, or a line of standard input.
func password(of string) (string, error) {
	if term.IsTerminal(int(os.Stdin.Fd())) {
		fmt.Fprintf(os.Stderr, "Password of %s: ", of)
		text, err := term.ReadPassword(int(os.Stdin.Fd()))
		fmt.Fprintln(os.Stderr)
		return string(text), err
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return strings.TrimRight(line, "\r\n"), err
}
