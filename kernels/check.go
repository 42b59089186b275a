package kernels

import "context"

// CheckDebian says why debian: references can't be looked up on this machine:
// there is no apt, or no mirror is known (debian.ErrNoApt, debian.ErrNoMirror,
// wrapped). It uses no network. Else it gives the mirror and the keyring that
// its packages are verified with, "" for those that apt trusts.
func (s *Store) CheckDebian(ctx context.Context) (mirror, keyring string, err error) {
	a, err := s.openApt(ctx)
	if err != nil {
		return "", "", err
	}
	mirror, keyring = a.Archive()
	return mirror, keyring, nil
}
