// SPDX-License-Identifier: BSD-2-Clause
//
// Instructions that touch memory which is not RAM: what they are, and what they do. Of all others,
// what the CPU may have left out of an exit.
//
// A decoded instruction is a small struct without pointers, kept in a cache with a line for each
// low part of RIP. The bytes at RIP and the code size are compared in full: a guest that rewrites
// its code gets what it wrote.
// Decoding (insn_decode.c and insn_decode_vector.c, by Zydis) and executing (insn_exec.c, and the
// others, each named after a kind) share this header.
// Owned by the VMM's only thread.
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include "kernel/abi/vcpu.h"
#include "vmm/board/bus.h"
#include "vmm/board/memory.h"
#include "vmm/cpu/walk.h"

enum { INSN_BYTES = 15 }; // the longest x86 instruction

enum insn_op {
    INSN_SET,   // memory = whether a condition holds; its number is `imm`
    INSN_STORE, // memory = register or immediate
    INSN_LOAD,  // register = memory: from here on memory is read
    INSN_ADD, INSN_OR, INSN_ADC, INSN_SBB, INSN_AND, INSN_SUB, INSN_XOR, INSN_CMP, INSN_TEST,
    INSN_INC, INSN_DEC, INSN_NOT, INSN_NEG,
    INSN_XCHG, INSN_XADD, INSN_CMPXCHG,
    INSN_BT, INSN_BTS, INSN_BTR, INSN_BTC,
    INSN_ROL, INSN_ROR, INSN_RCL, INSN_RCR, INSN_SHL, INSN_SHR, INSN_SAR,
    INSN_CMOV,  // register = memory, if the condition `imm` holds
    INSN_IMUL,  // register = register or immediate times memory
    // insn_bits.c: `reg2` is the operand besides `reg` and memory
    INSN_MUL, INSN_IMUL_WIDE, INSN_DIV, INSN_IDIV, // `reg` is RAX, `reg2` RDX
    INSN_MULX,  // `reg` takes the upper half, `reg2` the lower
    INSN_SHLD, INSN_SHRD, // by `imm` or the register `reg2`
    INSN_ADCX, INSN_ADOX, INSN_CRC32,
    INSN_BSF, INSN_BSR, INSN_TZCNT, INSN_LZCNT, INSN_POPCNT,
    INSN_ANDN, INSN_BEXTR, INSN_BLSI, INSN_BLSMSK, INSN_BLSR, INSN_BZHI, INSN_PDEP, INSN_PEXT,
    INSN_RORX, INSN_SARX, INSN_SHLX, INSN_SHRX,
    INSN_PUSH, INSN_POP,
    INSN_MOVS, INSN_STOS, INSN_LODS, INSN_CMPS, INSN_SCAS,
    // insn_wide.c
    INSN_CMPXCHG_PAIR, // CMPXCHG8B, CMPXCHG16B
    INSN_JMP, INSN_CALL, // near, through memory
    // insn_vector.c: `reg` is a vector register
    INSN_VECTOR_LOAD, INSN_VECTOR_STORE,
    INSN_CONVERT, // CVTSI2SS, CVTSI2SD: `reg_size` bytes of floating point
    INSN_MXCSR_LOAD, INSN_MXCSR_STORE,
    INSN_X87,   // `imm` is which: see insn_vector.c
    INSN_FLUSH, // of a cache line: nothing is cached of a device
    INSN_OTHER, // does not work on device memory here; see insn_decode() for what is filled in
};

enum insn_flag {
    INSN_IMM = 1,     // the operand that is not memory is `imm`, not a register
    INSN_HIGH = 2,    // the register is AH, CH, DH or BH (reg 0 to 3)
    INSN_TO_REG = 4,  // the register is the destination
    INSN_SIGNED = 8,  // a load sign-extends
    INSN_SWAP = 16,   // MOVBE
    INSN_REP = 32,
    INSN_REPNE = 64,  // beside it: a comparison ends when it finds what is equal
};

struct insn {
    uint8_t op;        // enum insn_op
    uint8_t length;    // bytes
    uint8_t size;      // of the memory operand: 1, 2, 4 or 8; where `op` says so also 10, 16, 32
    uint8_t reg_size;  // of the register operand, likewise
    uint8_t reg;       // enum vcpu_gpr
    uint8_t flags;     // enum insn_flag
    uint8_t addr_size; // 2, 4 or 8 bytes of address registers, and string: of RCX, count
    uint8_t segment;   // as numbered in the encoding: ES CS SS DS FS GS; string: of the source
    uint64_t imm;      // sign-extended
    // Not string: the address of the memory operand.
    uint64_t disp;     // sign-extended
    uint8_t base, index; // enum vcpu_gpr, INSN_NO_REG, INSN_RIP (base) or INSN_AL (index)
    uint8_t scale;     // of the index: 1, 2, 4 or 8
    bool plain;        // it is gpr[base] + disp, with no segment to add
    // What few have.
    uint8_t reg2;
    uint8_t vector;    // enum insn_vector_flag
};
enum { SEGMENT_ES, SEGMENT_CS, SEGMENT_SS, SEGMENT_DS, SEGMENT_FS, SEGMENT_GS };
enum { INSN_NO_REG = 16, INSN_RIP = 17, INSN_AL = 18 };

enum insn_vector_flag {
    INSN_VEX = 1,     // a load clears what is above it in the register
    INSN_UPPER = 2,   // memory is the upper half of an XMM register
    INSN_MERGE = 4,   // the rest of the XMM register is `reg2`'s; else zeros
    INSN_ALIGNED = 8, // #GP if the address is no multiple of the size
};

// What is at RIP, padded with zeros to 16.
struct insn_code {
    uint64_t low, high; // bytes 0 to 7, 8 to 14
    uint8_t count;      // how many could be read
};

enum { INSN_CACHE_SIZE = 256 };
struct insn_cache {
    struct insn_line {
        uint64_t low;      // bytes 0 to 7
        uint64_t high;     // code size, and above it bytes 8 to 14; 0: empty
        struct insn insn;
    } __attribute__((aligned(64))) line[INSN_CACHE_SIZE];
    struct insn_code code; // of the last lookup, for messages
};

enum insn_status {
    INSN_OK,
    INSN_FAULT,       // *fault: the bytes cannot be fetched
    INSN_INVALID,     // not an instruction
};

void insn_cache_init(struct insn_cache *cache);

static inline struct insn_line *insn_line(struct insn_cache *cache, uint64_t rip)
{
    return &cache->line[rip % INSN_CACHE_SIZE];
}

// insn_fetch() for the case that comes most: 64-bit code in one page of RAM, which has been
// decoded. NULL: it is another case.
static inline const struct insn *insn_again(struct insn_cache *cache, const struct guest_ram *ram,
                                            const struct vm_exit *exit)
{
    const struct insn_line *line = insn_line(cache, exit->rip);
    const uint8_t *code;
    uint64_t low, high;

    if (exit->cpu.code_size != 8 || exit->rip % PAGE_SIZE > PAGE_SIZE - 16 ||
        !walk_code(ram, &exit->cpu, exit->rip, &code))
        return NULL;
    memcpy(&low, code, 8);
    memcpy(&high, code + 8, 8);
    return line->low == low && line->high == (high << 8 | 8) ? &line->insn : NULL;
}

// The instruction at RIP of `exit`, from the cache or decoded. *insn stays valid until the next
// call.
enum insn_status insn_fetch(struct insn_cache *cache, const struct guest_ram *ram,
                            const struct vm_exit *exit, const struct insn **insn,
                            struct guest_fault *fault);

// Bytes to struct insn. code_size: 2, 4 or 8. False: that is no instruction.
// Of INSN_OTHER known are `length`; `reg`, the first general register that it names; `addr_size`
// and `segment`, of INS and OUTS the string's; and if it names memory, `size` is 1 and the rest of
// the address is there too, else `size` is 0.
bool insn_decode(const struct insn_code *code, unsigned code_size, struct insn *insn);

// An instruction with one memory operand is executed in three steps, so that nothing is changed
// before its accesses have succeeded: read memory if insn_reads(); insn_compute(); write memory if
// result.write; insn_commit().
struct insn_result {
    uint64_t value;     // for memory
    uint64_t reg_value; // for the register (CMPXCHG: the accumulator)
    uint64_t reg2_value; // a second one's, which is written first
    uint64_t rflags;
    bool write, reg_write, reg2_write, rflags_write;
    bool divide_error;  // the guest gets #DE instead of all this
    uint8_t reg;
};

static inline bool insn_reads(const struct insn *insn)
{
    return insn->op >= INSN_LOAD;
}

// Those that write memory, or may, beside what they read.
static inline bool insn_modifies(const struct insn *insn)
{
    return insn_reads(insn) && insn->op != INSN_LOAD && insn->op != INSN_CMP &&
           insn->op != INSN_TEST && insn->op != INSN_BT &&
           (insn->op <= INSN_SAR || insn->op == INSN_SHLD || insn->op == INSN_SHRD) &&
           !(insn->flags & INSN_TO_REG);
}

// PUSH, POP and the string instructions have two memory operands: insn_run_stack(), _string().
// INSN_FLUSH and INSN_OTHER are not simple either, nor what lies between these.
static inline bool insn_is_simple(const struct insn *insn)
{
    return insn->op < INSN_PUSH;
}

void insn_compute(const struct insn *insn, const struct vcpu_page *page, uint64_t old,
                  struct insn_result *result);
// The part of it that is in insn_bits.c; `old` has no bits above insn->size.
void insn_compute_bits(const struct insn *insn, const struct vcpu_page *page, uint64_t old,
                       struct insn_result *result);
// The status flags of a - b.
void insn_compare(struct vcpu_page *page, uint64_t a, uint64_t b, unsigned size);
void insn_commit(const struct insn *insn, struct vcpu_page *page,
                 const struct insn_result *result);

uint64_t insn_get_reg(const struct vcpu_page *page, unsigned reg, unsigned size, bool high);
void insn_set_reg(struct vcpu_page *page, unsigned reg, unsigned size, bool high, uint64_t value);

// A load, which is what guests do to devices most, of which the value read, as it is, is all of the
// register: zero-extended, and above `size` it is 0 already.
static inline bool insn_loads_plainly(const struct insn *insn)
{
    return insn->op == INSN_LOAD && insn->reg_size >= 4 && insn->flags == INSN_TO_REG &&
           insn->reg != GPR_RSP;
}

// What a store, the other thing that guests do to devices, writes; only when insn_stores_plainly().
static inline bool insn_stores_plainly(const struct insn *insn)
{
    return insn->op == INSN_STORE && (insn->flags & ~INSN_IMM) == 0 && insn->reg != GPR_RSP;
}

static inline uint64_t insn_stored(const struct insn *insn, const struct vcpu_page *page)
{
    return insn->flags & INSN_IMM ? insn->imm : page->gpr[insn->reg]; // bits above `size` too
}

// page->sregs must be current for the rest of this file, unless insn_needs_sregs() says that it is
// not looked at.
bool insn_needs_sregs(const struct insn *insn, const struct vm_exit *exit);

// Base of a segment; 0 for those that 64-bit mode does not have.
uint64_t insn_segment_base(const struct vcpu_page *page, unsigned segment);

// The linear address of the memory operand, computed from the registers. Not for string
// instructions.
uint64_t insn_address(const struct insn *insn, const struct vcpu_page *page);

// Where an instruction may touch memory: its operands, and around RSP if it may use the stack.
// Returns how many addresses there are, at least 1.
enum { INSN_PLACES = 3 };
unsigned insn_places(const struct insn *insn, const struct vcpu_page *page,
                     uint64_t gva[INSN_PLACES]);

// Where the access that caused the exit begins: mostly at exit.mmio.gva; but one that crosses into
// a page which is not RAM exits with that page's address, and its first bytes lie before.
uint64_t insn_start(const struct insn *insn, const struct vcpu_page *page);

// True for most of the accesses that begin where a page does: no need for insn_start().
static inline bool insn_starts_page(const struct insn *insn, const struct vcpu_page *page)
{
    return insn->plain && ((page->gpr[insn->base] + insn->disp) & (PAGE_SIZE - 1)) == 0;
}

// Which of its two operands in memory a string instruction has: at RSI, and at RDI in ES.
static inline bool insn_has_source(const struct insn *insn)
{
    return insn->op != INSN_STOS && insn->op != INSN_SCAS;
}

static inline bool insn_has_destination(const struct insn *insn)
{
    return insn->op != INSN_LODS;
}

// The instructions that are not simple.
enum insn_run {
    INSN_RUN_DONE,    // advance RIP
    INSN_RUN_AGAIN,   // a part of the repetitions is done: enter the guest with RIP as it is
    INSN_RUN_FAULT,
    INSN_RUN_BLOCKED, // a device is busy; call again later
    INSN_RUN_KILL,    // the kernel refuses a call: the VM ends
};

// Bytes of RSP that count; page->sregs must be current outside of 64-bit mode.
unsigned insn_stack_size(const struct vcpu_page *page);

enum insn_run insn_run_string(const struct insn *insn, const struct guest_ram *ram,
                              struct bus *bus, struct vcpu_page *page, struct guest_fault *fault);
enum insn_run insn_run_stack(const struct insn *insn, const struct guest_ram *ram,
                             struct bus *bus, struct vcpu_page *page, struct guest_fault *fault);
enum insn_run insn_run_pair(const struct insn *insn, const struct guest_ram *ram, struct bus *bus,
                            struct vcpu_page *page, struct guest_fault *fault);
// JMP, CALL. RIP becomes page->sregs.rip, which the caller has to write, plus the length of the
// instruction.
enum insn_run insn_run_jump(const struct insn *insn, const struct guest_ram *ram, struct bus *bus,
                            struct vcpu_page *page, struct guest_fault *fault);

// Vector registers, in page->fpu, which must be current; what changes there is for the caller to
// write, also when a fault is raised.
enum insn_run insn_run_vector(const struct insn *insn, const struct guest_ram *ram,
                              struct bus *bus, struct vcpu_page *page, struct guest_fault *fault);

// For these themselves.
static inline enum insn_run insn_run_of(enum gmem_result result)
{
    if (result == GMEM_OK)
        return INSN_RUN_DONE;
    return result == GMEM_FAULT ? INSN_RUN_FAULT : INSN_RUN_BLOCKED;
}

static inline enum insn_run insn_run_fault(struct guest_fault *fault, uint8_t vector,
                                           bool has_error)
{
    *fault = (struct guest_fault){ .vector = vector, .has_error = has_error };
    return INSN_RUN_FAULT;
}

// How many elements may be moved before the guest is entered again, for its interrupts' sake.
enum { STRING_CHUNK = 512 };

// The next chunk of a string instruction that steps through offset registers of `addr_size` bytes
// by `step` (negative when DF is set): at most STRING_CHUNK and `count`, and no further than where
// `offset` wraps. At least 1 when count is.
uint64_t string_chunk(uint64_t offset, unsigned addr_size, int64_t step, uint64_t count);

// Reads and writes the low `addr_size` bytes of a count or offset register as an instruction of
// that address size does: 4 zero-extends, 2 leaves the rest.
uint64_t string_reg(const struct vcpu_page *page, unsigned reg, unsigned addr_size);
void string_set_reg(struct vcpu_page *page, unsigned reg, unsigned addr_size, uint64_t value);
