# A guest of a few hundred bytes for the tests: QEMU takes it for a bzImage,
# and it serves one-letter commands on ttyS1 in real mode, reaching the disks
# through the BIOS. Every command is answered with one byte, '.' where there
# is nothing to say and '!' on an error.
#
#   e X    echo X on ttyS0
#   c      count up in memory, answer the count ('1', '2', ...)
#   w D X  fill sector 100 of disk D ('0', '1') with X
#   r D    answer the first byte of sector 100 of disk D
#   b D    write to disk D from its start until that fails or the disk ends
#   f      flood ttyS0, no answer
#   s      spin with interrupts off, no answer
#   p      reset
#   o      power off
#
# as --32 -o guest.o guest.S && ld -m elf_i386 --oformat binary -Ttext 0 -o guest.bin guest.o

	.code16
	.text
	.globl _start
_start:
	.org 0x1f1
	.byte 4			# setup sectors
	.org 0x1fe
	.word 0xaa55
	.org 0x200		# entered at segment:0, segment = setup + 0x20
	jmp 1f
	.ascii "HdrS"
	.word 0x0206		# boot protocol
	.org 0x211
	.byte 1			# loaded high
	.org 0x228
	.long 0			# command line
	.org 0x22c
	.long 0x7fffffff	# highest initrd address
	.org 0x238
	.long 255		# longest command line
	.org 0x260
1:	ljmp $0x1000, $go	# QEMU puts the setup at 0x10000
go:	mov %cs, %ax
	mov %ax, %ds
	mov %ax, %es
	cld
	mov $0x3f8, %dx
	call init
	mov $0x2f8, %dx
	call init
	mov $hello, %si
1:	lodsb
	test %al, %al
	jz 2f
	mov $0x3f8, %dx
	call put
	jmp 1b
2:	mov $'R', %al
	jmp answer

ok:	mov $'.', %al
answer:
	mov $0x2f8, %dx
	call put
loop:	call get
	cmp $'e', %al
	je echo
	cmp $'c', %al
	je count
	cmp $'w', %al
	je write
	cmp $'r', %al
	je read
	cmp $'b', %al
	je big
	cmp $'f', %al
	je flood
	cmp $'s', %al
	je spin
	cmp $'p', %al
	je reset
	cmp $'o', %al
	je off
bad:	mov $'!', %al
	jmp answer

echo:	call get
	mov $0x3f8, %dx
	call put
	jmp ok

count:	incb counter
	mov counter, %al
	jmp answer

write:	call disk
	call get
	mov $buffer, %di
	mov $512, %cx
	rep stosb
	movw $1, sectors
	movl $100, lba
	mov $0x43, %ah
	call bios
	jc bad
	jmp ok

read:	call disk
	movw $1, sectors
	movl $100, lba
	mov $0x42, %ah
	call bios
	jc bad
	mov buffer, %al
	jmp answer

big:	call disk
	mov $buffer, %di
	mov $32*512, %cx
	mov $'B', %al
	rep stosb
	movl $0, lba
1:	movw $32, sectors
	mov $0x43, %ah
	call bios
	jc bad
	addl $32, lba
	jmp 1b

flood:	mov $'F', %al
	mov $0x3f8, %dx
	call put
	jmp flood

spin:	cli
1:	jmp 1b

reset:	mov $0x0e, %al
	mov $0xcf9, %dx
	out %al, %dx
	jmp spin

off:	mov $0x2000, %ax	# SLP_EN in the PM1 control register
	mov $0x604, %dx
	out %ax, %dx
	jmp spin

disk:	call get		# '0' -> 0x80
	add $0x80-'0', %al
	mov %al, drive
	ret

bios:	mov drive, %dl
	mov $packet, %si
	xor %al, %al
	int $0x13
	ret

get:	mov $0x2f8+5, %dx
1:	in %dx, %al
	test $1, %al
	jz 1b
	mov $0x2f8, %dx
	in %dx, %al
	ret

put:	push %ax
	add $5, %dx
1:	in %dx, %al
	test $0x20, %al
	jz 1b
	sub $5, %dx
	pop %ax
	out %al, %dx
	ret

init:	push %dx		# 115200 8n1, FIFO on, no interrupts
	inc %dx
	xor %al, %al
	out %al, %dx
	add $2, %dx
	mov $0x80, %al
	out %al, %dx
	sub $3, %dx
	mov $1, %al
	out %al, %dx
	inc %dx
	xor %al, %al
	out %al, %dx
	add $2, %dx
	mov $3, %al
	out %al, %dx
	dec %dx
	mov $7, %al
	out %al, %dx
	pop %dx
	ret

hello:	.asciz "Run /guest of the tests\r\n"
counter:
	.byte '0'
drive:	.byte 0
	.balign 4
packet:	.byte 16, 0
sectors:
	.word 1
	.word buffer, 0x1000
lba:	.long 100, 0
	.org 0xa00		# end of the setup; what follows is the "kernel"
	.fill 512
	.set buffer, 0x2000
