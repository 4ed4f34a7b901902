// A complete engine for `arrconv conform --exec`: float32 and float64, any number of axes, every function, padding by
// amounts. The protocol is in docs/line-protocol.md. Build it with: c++ -std=c++17 -O2 engine.cpp -o engine
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

using Sizes = std::vector<long>;
using Request = std::map<std::string, std::string>;

long product(const Sizes& sizes, size_t first = 0) {
  long result = 1;
  for (size_t i = first; i < sizes.size(); ++i) result *= sizes[i];
  return result;
}

template <class T> struct Array {
  Sizes shape;
  std::vector<T> values;
  explicit Array(const Sizes& s) : shape(s), values(product(s)) {}
  size_t channel(size_t i) const { return i / product(shape, 2) % shape[1]; }
};

// The numbers in a text, whatever stands between them: "-1:2,0:3" is -1, 2, 0, 3, and "-" or "()" is none.
Sizes numbers(const std::string& text) {
  Sizes found;
  for (size_t at = 0; (at = text.find_first_of("0123456789", at)) != std::string::npos;) {
    size_t length, begin = at > 0 && text[at - 1] == '-' ? at - 1 : at;
    found.push_back(std::stol(text.substr(begin), &length));
    at = begin + length;
  }
  return found;
}

template <class T> const std::string descr = sizeof(T) == 4 ? "'<f4'" : "'<f8'";

// A .npy file: 8 bytes of magic and version, 2 with the length of the header, the header, the values in C order.
template <class T> Array<T> load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string header;
  std::getline(file.seekg(10), header);  // a line feed ends it, and there is no other in it
  Array<T> array(numbers(header.substr(header.find('('))));
  file.read(reinterpret_cast<char*>(array.values.data()), array.values.size() * sizeof(T));
  if (!file || header.find(descr<T>) == std::string::npos) throw std::runtime_error("cannot read " + path);
  return array;
}

template <class T> void save(const std::string& path, const Array<T>& array) {
  std::string header = "{'descr': " + descr<T> + ", 'fortran_order': False, 'shape': (";
  for (long size : array.shape) header += std::to_string(size) + ",";
  header += ")}";
  header.append(63 - (10 + header.size()) % 64, ' ').push_back('\n');  // so that the values begin at a multiple of 64
  std::ofstream file(path, std::ios::binary);
  file.write("\x93NUMPY\x01\x00", 8).put(header.size() % 256).put(header.size() / 256) << header;
  file.write(reinterpret_cast<const char*>(array.values.data()), array.values.size() * sizeof(T));
}

// The element of an axis of n that position i reads, or -1 where it is a zero.
long source(long i, long n, const std::string& mode) {
  if (i >= 0 && i < n) return i;
  if (mode == "circular") return (i % n + n) % n;
  if (mode == "replicate") return i < 0 ? 0 : n - 1;
  if (mode != "reflect") return -1;
  while (i < 0 || i >= n) i = n == 1 ? 0 : i < 0 ? -i : 2 * (n - 1) - i;
  return i;
}

struct Options { Sizes stride, dilation, pads; long groups; std::string mode; };  // pads: begin and end of each axis

// All functions are one form, the sum over all products x[n, C*g + c, s*l + d*k - begin] * w[o, c, k] * y[n, o, l] with
// o in group g, and C channels in a group. This hands the places of the three factors of each product to `visit`.
template <class V> void walk(const Options& of, const Sizes& x, const Sizes& w, const Sizes& y, const V& visit) {
  Sizes ends = y, at(y.size() + w.size() - 1, 0);  // an odometer over n, o, l..., c, k...
  ends.insert(ends.end(), w.begin() + 1, w.end());
  for (size_t digit = product(ends); digit > 0;) {
    const long *l = &at[2], *k = &at[y.size() + 1], c = at[y.size()], group = at[1] / (w[0] / of.groups);
    long xi = at[0] * x[1] + group * w[1] + c, wi = at[1] * w[1] + c, yi = at[0] * y[1] + at[1];
    bool inside = true;
    for (size_t a = 0; a < of.stride.size(); ++a) {
      const long i = source(of.stride[a] * l[a] + of.dilation[a] * k[a] - of.pads[2 * a], x[a + 2], of.mode);
      inside = inside && i >= 0;
      xi = xi * x[a + 2] + i, wi = wi * w[a + 2] + k[a], yi = yi * y[a + 2] + l[a];
    }
    if (inside) visit(xi, wi, yi);
    for (digit = at.size(); digit > 0 && ++at[digit - 1] == ends[digit - 1]; --digit) at[digit - 1] = 0;
  }
}

// Makes the call, and returns the line that answers it.
template <class T> std::string answer(Request& request) {
  const std::string folder = request["folder"] + "/";
  const Options of = {numbers(request["stride"]), numbers(request["dilation"]), numbers(request["padding"]),
                      std::stol(request["groups"]), request["padding_mode"]};
  if (of.pads.size() != 2 * of.stride.size()) return "unsupported padding by name";
  const bool transposed = request["function"].rfind("conv_transpose", 0) == 0;
  const char in = transposed ? 'y' : 'x', out = transposed ? 'x' : 'y';
  std::map<char, Array<T>> arrays;  // by their roles in the form: gx is in that of x, gy in that of y
  for (std::string name : {"x", "y", "w", "gx", "gy"})
    if (request.count(name)) arrays.emplace(name.back(), load<T>(folder + request[name]));
  const Sizes w = arrays.at('w').shape, data = arrays.at(in).shape, extra = numbers(request["output_padding"]);
  Sizes shape = {data[0], transposed ? w[1] * of.groups : w[0]};  // of the result of a call that asks for no gradients
  for (size_t a = 0; a < of.stride.size(); ++a) {
    const long s = of.stride[a], d = of.dilation[a], n = data[a + 2];
    const long rest = d * (w[a + 2] - 1) + 1 - of.pads[2 * a] - of.pads[2 * a + 1];
    if (s < 1 || d < 1) return "error stride and dilation must be positive";
    shape.push_back(transposed ? (n - 1) * s + rest + extra[a] : n < rest ? 0 : (n - rest) / s + 1);
  }
  const Array<T>& given = arrays.emplace(out, Array<T>(shape)).first->second;  // for gradients it is there already
  const Array<T> bias = request.count("bias") ? load<T>(folder + request["bias"]) : Array<T>({shape[1]});
  if (of.groups < 1 || w[0] % of.groups || data[1] != (transposed ? w[0] : w[1] * of.groups) || given.shape != shape ||
      bias.shape != Sizes{shape[1]})
    return "error the shapes do not fit each other";
  const Array<T>&xs = arrays.at('x'), &ws = arrays.at('w'), &ys = arrays.at('y');
  std::string reply = "done", need;
  for (std::istringstream needs(request.count("needs") ? request["needs"] : "result"); getline(needs, need, ',');) {
    const char role = need == "result" ? out : need == "input" ? in : need == "weight" ? 'w' : 'b';
    Array<T> sum(role == 'b' ? Sizes{given.shape[1]} : arrays.at(role).shape);
    for (size_t i = 0; need == "result" && i < sum.values.size(); ++i) sum.values[i] = bias.values[sum.channel(i)];
    for (size_t i = 0; role == 'b' && i < given.values.size(); ++i) sum.values[given.channel(i)] += given.values[i];
    walk(of, xs.shape, w, ys.shape, [&](long xi, long wi, long yi) {
      if (role == 'x') sum.values[xi] += ws.values[wi] * ys.values[yi];
      if (role == 'w') sum.values[wi] += xs.values[xi] * ys.values[yi];
      if (role == 'y') sum.values[yi] += xs.values[xi] * ws.values[wi];
    });
    save(folder + need + "-out.npy", sum);
    reply += " " + need + "=" + need + "-out.npy";
  }
  return reply;
}

int main() {
  for (std::string line, verb, word; std::getline(std::cin, line);) {
    std::istringstream words(line);
    Request request;
    for (words >> verb; words >> word;) request[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    try {
      if (verb == "hello") std::cout << "hello protocol=1 name=example version=1.0" << std::endl;
      else if (request["dtype"] == "float32") std::cout << answer<float>(request) << std::endl;
      else if (request["dtype"] == "float64") std::cout << answer<double>(request) << std::endl;
      else std::cout << "unsupported " << request["dtype"] << std::endl;
    } catch (const std::exception& error) {
      std::cout << "error " << error.what() << std::endl;
    }
  }
}
