package qemu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
)

// The part of the NBD protocol that QEMU speaks with us (doc/proto.md of the
// reference implementation): fixed newstyle negotiation without options,
// simple replies.
const (
	nbdMagic        = 0x4e42444d41474943 // NBDMAGIC
	nbdOption       = 0x49484156454f5054 // IHAVEOPT
	nbdOptionReply  = 0x0003e889045565a9
	nbdRequest      = 0x25609513
	nbdReply        = 0x67446698
	nbdFixedNoZeros = 1 | 2

	nbdOptAbort = 2
	nbdOptInfo  = 6
	nbdOptGo    = 7

	nbdRepAck     = 1
	nbdRepInfo    = 3
	nbdRepUnknown = 1<<31 | 1

	nbdInfoExport = 0
	nbdInfoBlocks = 3

	// has flags, can flush, FUA, trim, write zeroes
	nbdExportFlags = 1 | 4 | 8 | 32 | 64

	nbdRead        = 0
	nbdWrite       = 1
	nbdDisconnect  = 2
	nbdFlush       = 3
	nbdTrim        = 4
	nbdWriteZeroes = 6

	nbdFlagFUA = 1

	// maxTransfer of one read or write, in bytes; QEMU's own limit.
	maxTransfer = 32 << 20
)

// An nbdCommand is what a client asks for.
type nbdCommand struct {
	kind   uint16
	fua    bool
	handle uint64
	offset int64
	length int64
}

// nbdNegotiate offers a disk to a client until it takes it.
func nbdNegotiate(conn io.ReadWriter, size int64) error {
	be := binary.BigEndian
	hello := be.AppendUint64(be.AppendUint64(nil, nbdMagic), nbdOption)
	if _, err := conn.Write(be.AppendUint16(hello, nbdFixedNoZeros)); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(conn, flags[:]); err != nil {
		return err
	}
	answer := func(option, kind uint32, data []byte) error {
		head := be.AppendUint32(be.AppendUint64(nil, nbdOptionReply), option)
		head = be.AppendUint32(be.AppendUint32(head, kind), uint32(len(data)))
		_, err := conn.Write(append(head, data...))
		return err
	}
	for {
		var head [16]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return err
		}
		option, length := be.Uint32(head[8:]), be.Uint32(head[12:])
		if be.Uint64(head[:]) != nbdOption || length > 64<<10 {
			return errors.New("NBD: no option where one is due")
		}
		if _, err := io.CopyN(io.Discard, conn, int64(length)); err != nil {
			return err
		}
		switch option {
		case nbdOptAbort:
			return errors.Join(answer(option, nbdRepAck, nil), errors.New("NBD: the client gave up"))
		case nbdOptGo, nbdOptInfo:
			export := be.AppendUint64(be.AppendUint16(nil, nbdInfoExport), uint64(size))
			blocks := be.AppendUint32(be.AppendUint16(nil, nbdInfoBlocks), SectorSize)
			blocks = be.AppendUint32(be.AppendUint32(blocks, 4096), maxTransfer)
			err := errors.Join(
				answer(option, nbdRepInfo, be.AppendUint16(export, nbdExportFlags)),
				answer(option, nbdRepInfo, blocks),
				answer(option, nbdRepAck, nil))
			if err != nil || option == nbdOptGo {
				return err
			}
		default:
			if err := answer(option, nbdRepUnknown, nil); err != nil {
				return err
			}
		}
	}
}

// nbdNext reads the next command, without its data.
func nbdNext(r io.Reader) (nbdCommand, error) {
	var head [28]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nbdCommand{}, err
	}
	be := binary.BigEndian
	c := nbdCommand{
		kind: be.Uint16(head[6:]), fua: be.Uint16(head[4:])&nbdFlagFUA != 0, handle: be.Uint64(head[8:]),
		offset: int64(be.Uint64(head[16:])), length: int64(be.Uint32(head[24:])),
	}
	if be.Uint32(head[:]) != nbdRequest {
		return c, errors.New("NBD: no request where one is due")
	}
	if (c.kind == nbdRead || c.kind == nbdWrite) && c.length > maxTransfer {
		return c, fmt.Errorf("NBD: a transfer of %d bytes", c.length)
	}
	return c, nil
}

// nbdAnswer is the reply to a command, with a read's data.
func nbdAnswer(w io.Writer, handle uint64, failure syscall.Errno, data []byte) error {
	be := binary.BigEndian
	head := be.AppendUint32(make([]byte, 0, 16+len(data)), nbdReply)
	head = be.AppendUint64(be.AppendUint32(head, uint32(failure)), handle)
	_, err := w.Write(append(head, data...))
	return err
}

// errnos that can be told over NBD, which has Linux's numbers.
var errnos = map[string]syscall.Errno{
	"EPERM": syscall.EPERM, "EIO": syscall.EIO, "ENOMEM": syscall.ENOMEM, "EINVAL": syscall.EINVAL,
	"ENOSPC": syscall.ENOSPC, "EOVERFLOW": syscall.EOVERFLOW, "EOPNOTSUPP": syscall.EOPNOTSUPP, "ESHUTDOWN": syscall.ESHUTDOWN,
}
