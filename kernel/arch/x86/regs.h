// SPDX-License-Identifier: BSD-2-Clause
// Names of architectural bits and of the host's fixed choices. Grouped as in the SDM's chapters
// "Control Registers", "Extended Feature Enable Register", "Model-Specific Registers".
#pragma once

#define CR0_PE (1ull << 0)
#define CR0_MP (1ull << 1)
#define CR0_TS (1ull << 3)
#define CR0_ET (1ull << 4)
#define CR0_NE (1ull << 5)
#define CR0_WP (1ull << 16)
#define CR0_NW (1ull << 29)
#define CR0_CD (1ull << 30)
#define CR0_PG (1ull << 31)

#define CR4_VME        (1ull << 0)
#define CR4_PVI        (1ull << 1)
#define CR4_TSD        (1ull << 2)
#define CR4_DE         (1ull << 3)
#define CR4_PSE        (1ull << 4)
#define CR4_PAE        (1ull << 5)
#define CR4_MCE        (1ull << 6)
#define CR4_PGE        (1ull << 7)
#define CR4_PCE        (1ull << 8)
#define CR4_OSFXSR     (1ull << 9)
#define CR4_OSXMMEXCPT (1ull << 10)
#define CR4_UMIP       (1ull << 11)
#define CR4_VMXE       (1ull << 13)
#define CR4_FSGSBASE   (1ull << 16)
#define CR4_PCIDE      (1ull << 17)
#define CR4_OSXSAVE    (1ull << 18)
#define CR4_SMEP       (1ull << 20)
#define CR4_SMAP       (1ull << 21)
#define CR4_PKE        (1ull << 22)

#define EFER_SCE (1ull << 0)
#define EFER_LME (1ull << 8)
#define EFER_LMA (1ull << 10)
#define EFER_NXE (1ull << 11)

#define RFLAGS_FIXED 0x2
#define RFLAGS_TF    0x100
#define RFLAGS_IF    0x200
#define RFLAGS_RF    0x10000

#define BLOCK_STI 1 // of a guest's interruptibility state
#define BLOCK_SS  2

#define MSR_APIC_BASE       0x1b
#define MSR_FEATURE_CONTROL 0x3a
#define MSR_SPEC_CTRL       0x48
#define MSR_PRED_CMD        0x49
#define MSR_ARCH_CAPS       0x10a
#define MSR_FLUSH_CMD       0x10b
#define MSR_SYSENTER_CS     0x174
#define MSR_SYSENTER_ESP    0x175
#define MSR_SYSENTER_EIP    0x176
#define MSR_MISC_ENABLE     0x1a0
#define MSR_PAT             0x277
#define MSR_TSC_DEADLINE    0x6e0
#define MSR_X2APIC          0x800
#define MSR_EFER            0xc0000080
#define MSR_STAR            0xc0000081
#define MSR_LSTAR           0xc0000082
#define MSR_CSTAR           0xc0000083
#define MSR_FMASK           0xc0000084
#define MSR_TSC_AUX         0xc0000103
#define MSR_FS_BASE         0xc0000100
#define MSR_GS_BASE         0xc0000101
#define MSR_KERNEL_GS_BASE  0xc0000102

// PAT as the power-on value but for entry 1, write-combining: the screen's.
#define HOST_PAT 0x0007040600070106ull

#define SEL_KERNEL_CODE 0x10
#define SEL_KERNEL_DATA 0x18
#define SEL_TSS         0x20
#define SEL_USER_CODE   0x33 // SYSEXIT: SYSENTER_CS + 32
#define SEL_USER_DATA   0x3b // + 40. Behind it a guest's TSS may be: Linux's is at 40H

// Vectors of the host.
#define VECTOR_DB       1
#define VECTOR_NMI      2
#define VECTOR_UD       6
#define VECTOR_NM       7
#define VECTOR_DF       8
#define VECTOR_PF       14
#define VECTOR_MC       18
#define VECTOR_SX       30 // AMD's: what an INIT becomes (svm.c)
#define VECTOR_CALL     9 // the gate of CALL_INSN: no APIC sends one below 16, no CPU raises it
#define VECTOR_GSI_BASE 0x30 // host IOAPIC pins, up to 24
#define VECTOR_GSI_MAX  24
#define VECTOR_TIMER    0xec
#define VECTOR_POSTED   0xf0 // the handler of these two does nothing, see arch_kick()
#define VECTOR_KICK     0xf1
#define VECTOR_IPI      0xf2
#define VECTOR_SPURIOUS 0xff

#define OPCODE_CALL 0xe8 // with a distance of 32 bits
#define OPCODE_JMP  0xe9

#define THUNK_SIZE        32 // of an indirect branch
#define KERNEL_STACK_SIZE 16384
#define IST_STACK_SIZE    4096
